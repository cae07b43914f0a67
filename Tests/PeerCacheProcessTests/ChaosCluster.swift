import Foundation
import NIOCore
import NIOPosix
import PeerCacheCore
import PeerCacheTesting

/// Members in processes of their own that reach each other through chaos proxies only, and what happens to them.
final class ChaosCluster: Sendable {
    let proxies: [ChaosProxy]
    private let members = Lock<[MemberProcess]>([])
    /// Seats whose process is killed or stopped: each is hurt in one way at a time.
    private let hurt = Lock<Set<Int>>([])
    /// What happened, for people.
    private let counts = Lock<[String: Int]>([:])
    private let log = Lock<[String]>([])  // kills and stops, and when; bounded by the test's time

    init(of count: Int, seed: UInt64) { proxies = (0..<count).map { ChaosProxy(seed: seed &+ UInt64($0)) } }

    func start() async throws {
        for proxy in proxies { try await proxy.start() }
        // All at a time: each change of the members costs a round among the voters.
        let started = try await withThrowingTaskGroup(of: (Int, MemberProcess).self) { group in
            for seat in proxies.indices { group.addTask { (seat, try await self.makeMember(seat)) } }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        members.withLock { $0 = proxies.indices.compactMap { started[$0] } }
    }

    func end() {
        for member in members.withLock({ $0 }) { member.end() }
        for proxy in proxies { proxy.end() }
    }

    func member(_ seat: Int) -> MemberProcess? { members.withLock { $0.indices.contains(seat) ? $0[seat] : nil } }

    var summary: String {
        counts.withLock(\.self).sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
    }

    private func makeMember(_ seat: Int) async throws -> MemberProcess {
        // The member cannot say where it listens, as it says what it advertises: the kernel chooses the port here.
        let probe = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(host: "127.0.0.1", port: 0).get()
        let port = probe.localAddress?.port ?? 0
        try await probe.close()
        proxies[seat].forward(to: port)
        let seeds = proxies.indices.filter { $0 != seat }.map { "127.0.0.1:\(proxies[$0].port)" }
        let member = try MemberProcess("c\(seat)", at: "127.0.0.1:\(port)", seeds: seeds, advertised: proxies[seat].port)
        do { try await eventually("\(member.name) listens") { !member.address.isEmpty } } catch {
            member.end()
            throw error
        }
        return member
    }

    func awaitVotes() async throws {
        let all = members.withLock { $0 }
        var states: [[String]] = []
        do {
            try await eventually("all \(all.count) vote", seconds: 45) {
                states = []
                for member in all { states.append(await member.ask("state") ?? []) }
                return states.allSatisfy { $0.prefix(3) == ["ok", "\(all.count)", "0"] }
            }
        } catch let error as NotInTime {
            let each = zip(all, states).map { "\($0.id): \($1.joined(separator: " "))" }
            throw NotInTime(description: ([error.description] + each + deaths).joined(separator: "\n"))
        }
    }

    /// What the members say of deaths: whoever is held for dead and is not starts empty, as if it had been killed.
    var deaths: [String] {
        members.withLock { $0 }.flatMap { member in
            member.all.filter { ["dead", "returned"].contains($0.kind) }.map {
                "\(member.name) at \($0.time): \($0.kind) \($0.peer) \($0.detail)"
            }
        }
    }

    /// Members that ended although nobody killed them.
    var crashed: [String] {
        let hurt = hurt.withLock { $0 }
        return members.withLock { $0 }.enumerated().filter { !hurt.contains($0.offset) && !$0.element.isRunning }.map(\.element.name)
    }

    // MARK: Faults

    /// Kills, stops and disturbs until the time is over. Nobody else is killed until everybody votes again.
    func disturb(until end: ContinuousClock.Instant, seed: UInt64) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.repeatedly(until: end, pause: 500...2_000, seed: seed &+ 1) { try await self.killOne(&$0) } }
            group.addTask { try await self.repeatedly(until: end, pause: 300...2_000, seed: seed &+ 2) { try await self.stopOne(&$0) } }
            group.addTask {
                try await self.repeatedly(until: end, pause: 50...600, seed: seed &+ 3) { self.disturbOne(&$0) }
                for proxy in self.proxies { proxy.calm() }
            }
            try await group.waitForAll()
        }
    }

    private func repeatedly(
        until end: ContinuousClock.Instant, pause: ClosedRange<Int>, seed: UInt64, _ body: (inout SeededRandom) async throws -> Void
    ) async throws {
        var random = SeededRandom(seed: seed)
        while true {
            try await Task.sleep(for: .milliseconds(Int.random(in: pause, using: &random)))
            if ContinuousClock.now >= end { return }
            try await body(&random)
        }
    }

    private func killOne(_ random: inout SeededRandom) async throws {
        guard let seat = claim(&random), let old = member(seat) else { return }
        old.end()
        count("kills", seat)
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...2_000, using: &random)))
        let new = try await makeMember(seat)
        members.withLock { $0[seat] = new }
        release(seat)
        try await awaitVotes()
    }

    private func stopOne(_ random: inout SeededRandom) async throws {
        guard let seat = claim(&random), let stopped = member(seat) else { return }
        defer { release(seat) }
        stopped.signal(SIGSTOP)
        defer { stopped.signal(SIGCONT) }
        count("stops", seat)
        try await Task.sleep(for: .milliseconds(Int.random(in: 200...3_000, using: &random)))
        count("goes on", seat)
    }

    private func disturbOne(_ random: inout SeededRandom) {
        guard let proxy = proxies.randomElement(using: &random) else { return }
        switch Int.random(in: 0..<3, using: &random) {
        case 0:
            proxy.cut()
            count("cuts")
        case 1:
            proxy.halfClose()
            count("half-closes")
        default:
            proxy.hold(milliseconds: Int64.random(in: 100...2_000, using: &random))
            count("holds")
        }
    }

    private func count(_ what: String, _ seat: Int? = nil) {
        counts.withLock { $0[what, default: 0] += 1 }
        if let seat { log.withLock { $0.append("\(Int64(secondsNow * 1_000)) \(what) of seat \(seat)") } }
    }

    /// Kills and stops: milliseconds since 1970.
    var faults: [String] { log.withLock { $0 } }

    private func claim(_ random: inout SeededRandom) -> Int? {
        hurt.withLock { hurt in
            let seat = proxies.indices.filter { !hurt.contains($0) }.randomElement(using: &random)
            if let seat { hurt.insert(seat) }
            return seat
        }
    }

    private func release(_ seat: Int) { hurt.withLock { _ = $0.remove(seat) } }
}
