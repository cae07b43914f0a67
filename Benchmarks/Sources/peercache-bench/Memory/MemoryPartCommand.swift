import ArgumentParser
import Foundation
import PeerCacheBenchSupport
import Synchronization

/// One part of ``MemoryCommand`` in a process of its own: prints its figures on one line.
struct MemoryPartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "memory-part", shouldDisplay: false)

    @Argument var part: MemoryPart
    @Option var policy = StoreSubject.Policy.lru.rawValue
    @OptionGroup var shape: MemoryShape

    private static let sizeMax = 256 << 10

    func run() async throws {
        ChildProcess.endWithStandardInput()
        guard let policy = StoreSubject.Policy(rawValue: policy) else { throw ValidationError("unknown policy") }
        let figures =
            switch part {
            case .overhead: try overhead(policy)
            case .churn: try churn(policy)
            case .halved: try await halved(policy)
            }
        print(Report.encoded(figures))
        fflush(nil)
    }

    /// Bytes per entry beyond key and value.
    private func overhead(_ policy: StoreSubject.Policy) throws -> [MemoryFigure] {
        let value = Workload.value(bytes: shape.valueBytes), payload = Workload.keyBytes + shape.valueBytes
        let before = ResidentMemory.exact()
        let store = try StoreSubject(limit: max(64 << 20, shape.entries * (payload + 400)), policy: policy)
        var key = KeyWriter()
        for number in 0..<shape.entries { _ = value.withUnsafeBytes { store.set(key.write(number), $0, milliseconds: Clock.milliseconds) } }
        let resident = ResidentMemory.exact() - before, usage = store.usage
        guard usage.entries == shape.entries else { throw ValidationError("the store did not keep all entries") }
        func perEntry(_ bytes: Int) -> Double { Double(bytes) / Double(shape.entries) - Double(payload) }
        return [
            MemoryFigure(name: "counted", value: perEntry(usage.counted), unit: "bytes/entry"),
            MemoryFigure(name: "rss", value: perEntry(resident), unit: "bytes/entry"),
        ]
    }

    /// Writes new keys with values of changing sizes, 20 times the limit.
    private func churn(_ policy: StoreSubject.Policy) throws -> [MemoryFigure] {
        let limit = shape.limitMegabytes << 20, total = limit * 20
        let value = Workload.value(bytes: Self.sizeMax)
        let before = ResidentMemory.exact()
        let store = try StoreSubject(limit: limit, policy: policy)
        // Smallest and largest size of each quarter, drawn so that every doubling is equally frequent.
        let mixes = [(16, 512), (4096, 65_536), (16, Self.sizeMax), (16, 2048)]
        var random = SplitMix(state: 1), key = KeyWriter(), upkeep = UpkeepClock(shape)
        var written = 0, number = 0, nextLook = 0, residentMax = 0, chargedMin = 1.0, failures = 0
        let start = Clock.nanoseconds
        while written < total {
            let (smallest, largest) = mixes[min(mixes.count - 1, written / (total / mixes.count))]
            let fraction = Double(random.next() >> 11) / Double(1 << 53)
            let size = min(largest, Int(Double(smallest) * pow(Double(largest) / Double(smallest), fraction)))
            let isKept = value.withUnsafeBytes {
                store.set(key.write(number), UnsafeRawBufferPointer(rebasing: $0[..<size]), milliseconds: Clock.milliseconds)
            }
            if !isKept { failures += 1 }
            number += 1
            written += size + Workload.keyBytes
            guard written >= nextLook else { continue }
            nextLook = written + (1 << 20)
            upkeep.run(store)
            residentMax = max(residentMax, ResidentMemory.quick - before)
            // The store is full once it has evicted for a while.
            if written > limit * 3 / 2 { chargedMin = min(chargedMin, Double(store.usage.charged) / Double(limit)) }
        }
        let seconds = Double(Clock.nanoseconds - start) / 1e9
        return [
            MemoryFigure(name: "rssMax", value: Double(residentMax) / Double(limit), unit: "of limit"),
            MemoryFigure(name: "chargedMin", value: chargedMin, unit: "of limit"),
            MemoryFigure(name: "notKept", value: Double(failures) / Double(number) * 100, unit: "%"),
            MemoryFigure(name: "writing", value: Double(written) / seconds / Double(1 << 20), unit: "MiB/s"),
        ]
    }

    private static let watchSeconds = 10.0

    /// Halves the limit under load and watches the resident memory. Ten seconds stand for never.
    private func halved(_ policy: StoreSubject.Policy) async throws -> [MemoryFigure] {
        let limit = shape.limitMegabytes << 20, value = Workload.value(bytes: shape.valueBytes)
        let before = ResidentMemory.exact()
        let store = try StoreSubject(limit: limit, policy: policy), entries = limit / (Workload.keyBytes + shape.valueBytes)
        var key = KeyWriter()
        for number in 0..<entries { _ = value.withUnsafeBytes { store.set(key.write(number), $0, milliseconds: Clock.milliseconds) } }
        let full = Double(ResidentMemory.exact() - before) / Double(limit)

        let target = limit / 2 + limit / 40, isOver = StopSign()
        Thread.detachNewThread { [shape] in
            var upkeep = UpkeepClock(shape)
            while !isOver.isSet {
                upkeep.run(store)
                usleep(5000)
            }
        }
        store.setLimit(limit / 2)
        let watching = Watch()
        Thread.detachNewThread {
            let start = Clock.nanoseconds
            while !isOver.isSet {
                let seconds = Double(Clock.nanoseconds - start) / 1e9, resident = ResidentMemory.quick - before
                watching.note(seconds, resident: resident, target: target)
                usleep(10_000)
            }
        }
        // Half of what the threads do is reading, half is writing keys anew.
        _ = await PinnedThreads.run(2, seconds: Self.watchSeconds) { _ in
            var random = SplitMix(state: Clock.nanoseconds), key = KeyWriter()
            withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 8) { buffer in
                for _ in 0..<512 {
                    _ = store.copy(key.write(Int(random.next() % UInt64(entries))), into: buffer, milliseconds: Clock.milliseconds)
                    _ = value.withUnsafeBytes {
                        store.set(key.write(Int(random.next() % UInt64(entries))), $0, milliseconds: Clock.milliseconds)
                    }
                }
            }
            return (1024, 0)
        }
        isOver.set()
        let seen = watching.seen
        return [
            MemoryFigure(name: "rssBefore", value: full, unit: "of old limit"),
            MemoryFigure(name: "seconds", value: seen.reached ?? Self.watchSeconds, unit: "s"),
            MemoryFigure(name: "rssAfter5s", value: Double(seen.afterFive) / Double(limit / 2), unit: "of new limit"),
        ]
    }
}
