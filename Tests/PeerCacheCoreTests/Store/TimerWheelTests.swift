import PeerCacheCore
import PeerCacheTesting
import Testing

/// The wheel against a sorted list, over years of virtual time.
@Suite struct TimerWheelTests {
    @Test(arguments: Seeds.chosen(1...40))
    func agreesWithASortedList(seed: UInt64) {
        var run = WheelRun(seed: seed, entries: 300)
        for step in 0..<4000 {
            if let problem = run.step() {
                Issue.record("\(problem), step \(step). Replay: PEERCACHE_SEED=\(seed)")
                return
            }
        }
    }

    @Test func aMillionDueAtOnceComeInSlices() {
        var run = WheelRun(seed: 1, entries: 100_000)
        for handle in 0..<100_000 { run.insert(handle, after: UInt32(1000 + handle % 16)) }
        run.now &+= 2000
        var calls = 0
        while calls < 10_000, case let (due, isPaused) = run.collect(looks: 100), !due.isEmpty || isPaused {
            #expect(due.count <= 100)
            calls += 1
        }
        #expect(run.wheelCount == 0)
        #expect(calls >= 1000 && calls <= 2100, "each is looked at twice at most: \(calls)")
    }
}

private struct WheelRun {
    private let memory: UnsafeMutableRawPointer
    private let table: UnsafeMutableRawPointer
    private let entries: EntryMemory
    private var wheel: TimerWheel
    private var random: SeededRandom
    private var expiries: [Int: UInt32] = [:]
    private let count: Int
    var now: UInt32

    init(seed: UInt64, entries count: Int) {
        self.count = count
        random = SeededRandom(seed: seed)
        now = random.next() as UInt64 % 3 == 0 ? UInt32.max - 5000 : UInt32.random(in: 0...UInt32.max, using: &random)
        // Never freed: a few kilobytes for each seed.
        memory = .allocate(byteCount: (count + 1) * 48, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: (count + 1) * 48)
        table = .allocate(byteCount: TimerWheel.tableBytes, alignment: 16)
        table.initializeMemory(as: UInt8.self, repeating: 0, count: TimerWheel.tableBytes)
        entries = EntryMemory(base: memory)
        wheel = TimerWheel(table: table, now: Tick(now))
    }

    var wheelCount: Int { wheel.count }

    /// Handles are offsets / 16.
    private func handle(_ number: Int) -> UInt32 { UInt32((number + 1) * 3) }

    mutating func insert(_ number: Int, after ticks: UInt32) {
        let expiry = now &+ ticks
        (memory + (number + 1) * 48).storeBytes(of: expiry, toByteOffset: 12, as: UInt32.self)
        wheel.insert(handle(number), expiry: Tick(expiry), entries)
        expiries[number] = expiry
    }

    mutating func collect(looks: Int) -> (due: [Int], isPaused: Bool) {
        var (due, left) = ([Int](), looks)
        while true {
            switch wheel.next(now: Tick(now), looks: &left, entries) {
            case .due(let handle): due.append(Int(handle) / 3 - 1)
            case .nothing: return (due, false)
            case .paused: return (due, true)
            }
        }
    }

    private func isDue(_ expiry: UInt32) -> Bool { Int32(bitPattern: now &- expiry) >= 0 }

    mutating func step() -> String? {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<50:
            let number = Int.random(in: 0..<count, using: &random)
            if expiries.removeValue(forKey: number) != nil { wheel.remove(handle(number), entries) }
            let bits = Int.random(in: 0..<31, using: &random)
            let ticks = UInt32.random(in: 1...max(1, (1 << bits) - (bits == 30 ? 1 << 20 : 0)), using: &random)
            insert(number, after: ticks)
        case 50..<60:
            let number = Int.random(in: 0..<count, using: &random)
            if expiries.removeValue(forKey: number) != nil { wheel.remove(handle(number), entries) }
        case 60..<90:
            // Mostly a little later; at times hours, weeks, more than a year.
            let bits = [0, 3, 6, 7, 12, 18, 24, 29].randomElement(using: &random) ?? 0
            now &+= UInt32.random(in: 0...1 << bits, using: &random)
            // In slices, as the store does, with changes in between.
            for _ in 0..<2 {
                let (due, isPaused) = collect(looks: Int.random(in: 0..<20, using: &random))
                if let problem = remove(due) { return problem }
                if !isPaused { break }
                if let number = expiries.keys.min() { if let problem = replace(number) { return problem } }
            }
            for _ in 0..<2 {  // the second: a pass that was paused may have had an earlier target
                let (due, _) = collect(looks: .max)
                if let problem = remove(due) { return problem }
            }
            if let late = expiries.first(where: { isDue($0.value) }) { return "\(late.key) is late by \(now &- late.value)" }
        case 90..<95:
            let before = now
            now &-= UInt32.random(in: 0..<100, using: &random)
            let (due, _) = collect(looks: .max)
            now = before
            if !due.isEmpty { return "time went back and something was due" }
        default: return wheel.check(entries)
        }
        return wheel.count == expiries.count ? nil : "\(wheel.count) in the wheel, \(expiries.count) in the list"
    }

    private mutating func replace(_ number: Int) -> String? {
        expiries[number] = nil
        wheel.remove(handle(number), entries)
        insert(number, after: UInt32.random(in: 1...5000, using: &random))
        return wheel.check(entries)
    }

    private mutating func remove(_ due: [Int]) -> String? {
        for number in due {
            guard let expiry = expiries.removeValue(forKey: number) else { return "\(number) was given out twice" }
            if !isDue(expiry) { return "\(number) is early by \(expiry &- now)" }
        }
        return nil
    }
}
