import Foundation
import PeerCacheCore
import PeerCacheTesting
import WireSamples

/// The first inputs: valid messages for the decoders, random choices for what draws its own.
enum FuzzCorpus {
    static func write(to folder: URL) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var random = SeededRandom(seed: 1)
        let samples = RandomMessages()
        for number in 0..<64 {
            let message = number % 8 == 0 ? samples.hello(using: &random) : samples.message(using: &random)
            try write(.frame, number, SampleFrame.payload(of: [message], hlc: random.next()), folder)
        }
        for number in 0..<8 {
            let frames = (0..<3).flatMap { _ in SampleFrame.bytes(of: [samples.message(using: &random)]) }
            try write(.splitter, number, (0..<16).map { _ in UInt8(truncatingIfNeeded: random.next() % 64) } + frames, folder)
        }
        for target in [FuzzTarget.samples, .outbound, .assembly, .gossip, .requestTable, .slots] {
            for number in 0..<16 {
                try write(target, number, (0..<20 * (1 + number)).map { _ in UInt8(truncatingIfNeeded: random.next()) }, folder)
            }
        }
        // Whole handshakes: hello, answer, finish, unchanged and changed.
        for number in 0..<16 {
            let change: UInt8 = number < 4 ? 0 : UInt8(4 * (number % 4))
            let seeds = (0..<16).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let steps: [UInt8] = [0, 1 | (number % 2 == 0 ? change : 0), 5, 9, 2 | (number % 2 == 1 ? change : 0), 7, 1]
            try write(.handshake, number, [UInt8(number % 4), UInt8(number & 1)] + seeds + steps, folder)
        }
    }

    private static func write(_ target: FuzzTarget, _ number: Int, _ bytes: [UInt8], _ folder: URL) throws {
        let file = folder.appendingPathComponent("\(target)-\(number)")
        try Data([target.rawValue] + bytes).write(to: file)
    }
}
