internal import PeerCacheCore
internal import PeerCacheTesting

/// A cluster on the bench: settles, loses peers, and tells when who knew.
final class GossipLab {
    static let second: Int64 = 1_000_000_000
    let cluster: SimulatedCluster
    let size: Int
    private var random: SeededRandom
    private var lostAt: [Int: Int64] = [:]  // by number; looked up
    private var known: [Int64] = []
    private var isKnown: Set<Int> = []  // observer × 2^20 + subject; looked up

    init(_ size: Int, lossPercent: UInt32, carriage: Carriage = .streams, _ configuration: GossipConfiguration, seed: UInt64) {
        var scenario = Scenario(peers: size)
        scenario.carriage = carriage
        scenario.quality = LinkQuality(lossPercent: lossPercent)
        scenario.configuration = configuration
        scenario.startSpread = Int64(size) * 10_000_000
        self.size = size
        random = SeededRandom(seed: seed &+ 99)
        cluster = SimulatedCluster(scenario, seed: seed)
        cluster.checksEveryChange = size <= 16
        cluster.onEvent = { [weak self] observer, event in self?.note(event, by: observer) }
        cluster.start()
        cluster.advance(by: scenario.startSpread + Self.second)
        settle()
        // Joining is over, the queues are empty.
        cluster.advance(by: 30 * Self.second)
    }

    private func note(_ event: MembershipEvent, by observer: Int) {
        switch event {
        case .dead(let id, _), .left(let id):
            guard let subject = cluster.number(of: id), let at = lostAt[subject], !cluster.isPaused(observer) else { return }
            if isKnown.insert(observer << 20 | subject).inserted { known.append(cluster.time - at) }
        default: break
        }
    }

    /// Waits until all views are equal. False: they were not after two minutes.
    @discardableResult func settle() -> Bool {
        cluster.advance(upTo: 120 * Self.second, step: 200_000_000) { $0.agrees } != nil
    }

    func anySeat() -> Int { random.below(size) }
    func pause(_ range: ClosedRange<Int64>) { cluster.advance(by: random.duration(range)) }
    func duration(_ range: ClosedRange<Int64>) -> Int64 { random.duration(range) }
    func shuffledSeats() -> [Int] { (0..<size).shuffled(using: &random) }

    /// How long each survivor that is not paused took to know of each of the lost; who did not within the limit counts as that.
    func lose(_ seats: [Int], silently: Bool, limit: Int64 = 60_000_000_000) -> [Int64] {
        lostAt.removeAll()
        known.removeAll()
        isKnown.removeAll()
        for seat in seats {
            guard let number = cluster.process(on: seat) else { continue }
            lostAt[number] = cluster.time
            cluster.apply(silently ? .loseHost(seat) : .crash(seat))
        }
        let expected = cluster.present.count { !cluster.isPaused($0) } * lostAt.count
        _ = cluster.advance(upTo: limit, step: 50_000_000) { _ in self.known.count >= expected }
        lostAt.removeAll()
        return known + [Int64](repeating: limit, count: max(0, expected - known.count))
    }

    /// New processes on the seats, and everybody knows them.
    func refill(_ seats: [Int]) {
        for seat in seats { cluster.apply(.start(seat)) }
        cluster.advance(by: Self.second)
        settle()
        pause(2 * Self.second...6 * Self.second)
    }

    /// Traffic and wrong verdicts of a time without failures.
    func quiet(seconds: Int64) -> (bytes: Double, wire: Double, wrong: Int) {
        let bytes = cluster.counts.messageBytes, wire = cluster.wireBytes, wrong = cluster.wrongVerdicts.count
        cluster.advance(by: seconds * Self.second)
        let share = Double(size) * Double(seconds)
        return (
            Double(cluster.counts.messageBytes - bytes) / share, Double(cluster.wireBytes - wire) / share,
            cluster.wrongVerdicts.count - wrong
        )
    }

    /// The seats of those who watch the process on `seat`: the next 12 in id order.
    func watchers(of seat: Int) -> [Int] {
        guard let number = cluster.process(on: seat) else { return [] }
        let id = cluster.id(number)
        let others = cluster.present.filter { $0 != number }.sorted { cluster.id($0) < cluster.id($1) }
        let later = others.filter { cluster.id($0) > id } + others.filter { cluster.id($0) < id }
        return later.prefix(12).map { cluster.seat($0) }
    }

    /// Time until all views are equal, nobody missing; nil: not within `limit`.
    func secondsToAgree(limit: Int64, step: Int64 = 20_000_000) -> Double? {
        cluster.advance(upTo: limit, step: step) { $0.agrees }.map { Double($0) / 1e9 }
    }
}
