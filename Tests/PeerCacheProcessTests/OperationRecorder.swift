import Foundation
import PeerCacheCore
import PeerCacheTesting

/// What callers at any member did to a cluster's caches, with their times.
final class OperationRecorder: Sendable {
    /// As the checker takes no more for one key.
    static let eventsMax = 60

    private let cluster: ChaosCluster
    private let histories = Lock<[String: RegisterHistory]>([:])
    /// The `get`s without a hit, by key.
    private let misses = Lock<[String: [(start: Int64, end: Int64, member: String)]]>([:])
    private let counts = Lock<[String: Int]>([:])
    /// Each value is written once.
    private let lastValue = Lock(0)

    init(_ cluster: ChaosCluster) { self.cluster = cluster }

    /// By key.
    var all: [String: RegisterHistory] { histories.withLock(\.self) }

    /// Keys that were never removed, but missed by a `get` that began after a `set` was complete. To be asked after ``forgetMisses()``.
    var lost: [String] {
        let misses = misses.withLock { $0 }
        return all.filter { key, history in
            let isRemoved = history.events.contains { $0.action == .write(nil) }
            let stored = history.events.filter { if case .write = $0.action { true } else { false } }.map(\.end).min() ?? .max
            return !isRemoved && misses[key, default: []].contains { $0.start > stored }
        }.keys.sorted()
    }

    /// While voters are killed, stopped and cut off, a miss may say that too few of them were reached in time (S3).
    func forgetMisses() { misses.withLock { $0 = [:] } }

    /// What happened to a key, for people: milliseconds since 1970, as the members print them.
    func story(of key: String) -> String {
        let shift = Int64(secondsNow * 1_000) - nanosecondsNow / 1_000_000
        let events = all[key, default: RegisterHistory()].events.map { ($0.start, $0.end, "\($0.action)") }
        let missed = misses.withLock { $0[key, default: []] }.map { ($0.start, $0.end, "miss at \($0.member)") }
        return (events + missed).sorted { $0.0 < $1.0 }.map { start, end, what in
            "\(start / 1_000_000 + shift) +\(end == .max ? "?" : "\((end - start) / 1_000_000)") \(what)"
        }.joined(separator: "\n")
    }

    var summary: String {
        counts.withLock(\.self).sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
    }

    /// - Returns: the hit.
    @discardableResult func get(_ key: String, at member: MemberProcess) async -> Int? {
        let start = nanosecondsNow
        let answer = await member.ask("get \(key)")
        let hit = answer?.first == "ok" ? answer?.last.flatMap { Int($0) } : nil
        if let hit { record(key, .read(hit), start, nanosecondsNow) }
        if answer == ["miss"] { misses.withLock { $0[key, default: []].append((start, nanosecondsNow, member.name)) } }
        count("get", answer)
        return hit
    }

    /// - Returns: the value, when it was stored for sure.
    @discardableResult func set(_ key: String, at member: MemberProcess) async -> Int? {
        let value = lastValue.withLock { last in
            last += 1
            return last
        }
        return await write(key, value, "set \(key) \(value)", at: member) ? value : nil
    }

    @discardableResult func remove(_ key: String, at member: MemberProcess) async -> Bool {
        await write(key, nil, "remove \(key)", at: member)
    }

    private func write(_ key: String, _ value: Int?, _ command: String, at member: MemberProcess) async -> Bool {
        let start = nanosecondsNow
        let answer = await member.ask(command)
        count(value == nil ? "remove" : "set", answer)
        switch answer {
        case ["ok"]: record(key, .write(value), start, nanosecondsNow)
        case ["failed", "quorumUnavailable"]: break  // the library says that nothing happened: the checker must need no write
        default: record(key, .write(value), start, .max)
        }
        return answer == ["ok"]
    }

    private func record(_ key: String, _ action: RegisterHistory.Action, _ start: Int64, _ end: Int64) {
        histories.withLock { $0[key, default: RegisterHistory()].events.append(.init(action, start: start, end: end)) }
    }

    private func count(_ operation: String, _ answer: [String]?) {
        let outcome = answer.map { $0.first == "failed" ? $0.joined(separator: " ") : $0.first ?? "" } ?? "unanswered"
        counts.withLock { $0["\(operation) \(outcome)", default: 0] += 1 }
    }

    private var nanosecondsNow: Int64 { Int64(clamping: DispatchTime.now().uptimeNanoseconds) }
}
