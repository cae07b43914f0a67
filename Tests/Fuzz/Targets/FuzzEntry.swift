import Foundation
import PeerCacheCore
import WireSamples

private let fixedTarget: FuzzTarget? = {
    guard let name = ProcessInfo.processInfo.environment["PEERCACHE_FUZZ_TARGET"], !name.isEmpty else { return nil }
    guard let target = FuzzTarget.allCases.first(where: { "\($0)" == name }) else { fatalError("no fuzz target \(name)") }
    return target
}()

/// Called by libFuzzer for every input.
@_cdecl("LLVMFuzzerTestOneInput") public func fuzzOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: size))
    guard let first = bytes.first else { return 0 }
    (fixedTarget ?? FuzzTarget.allCases[Int(first) % FuzzTarget.allCases.count]).run(bytes.dropFirst())
    return 0
}

/// With `PEERCACHE_FUZZ_CORPUS` set, writes the seed corpus into that folder and exits: the same files every time.
@_cdecl("LLVMFuzzerInitialize") public func fuzzInitialize(_: UnsafeMutablePointer<CInt>?, _: UnsafeMutableRawPointer?) -> CInt {
    if let folder = ProcessInfo.processInfo.environment["PEERCACHE_FUZZ_CORPUS"], !folder.isEmpty {
        do { try FuzzCorpus.write(to: URL(fileURLWithPath: folder)) } catch { fatalError("corpus: \(error)") }
        _exit(0)
    }
    return 0
}
