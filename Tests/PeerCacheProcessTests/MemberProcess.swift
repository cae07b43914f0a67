import Foundation
import PeerCacheCore
import Testing

/// A peer in a process of its own: what it says about the membership, and ways to hurt it.
///
/// `@unchecked Sendable` is safe: `process` and the pipes are set once, what is read is behind a lock.
final class MemberProcess: @unchecked Sendable {
    struct Line: Decodable, Sendable {
        var time: Double
        var kind: String
        var peer: String
        var detail: String
    }

    let name: String
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private let lines = Lock<[Line]>([])
    private let questions = Lock(Questions())

    /// Those without an answer yet.
    private struct Questions {
        var asked = 0
        var open: [String: CheckedContinuation<[String]?, Never>] = [:]
        var isOver = false
    }

    /// - Parameters:
    ///   - advertised: the port where others reach it, 0 for the one it listens at; with one, it has caches and answers what it is asked.
    ///   - namespace: a network namespace to run in.
    init(
        _ name: String, at address: String = "127.0.0.1:0", seeds: [String] = [], advertised: Int? = nil, namespace: String? = nil
    ) throws {
        self.name = name
        let arguments = [address, seeds.joined(separator: ","), name] + (advertised.map { [String($0)] } ?? [])
        if let namespace {
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["ip", "netns", "exec", namespace, Self.program.path] + arguments
        } else {
            process.executableURL = Self.program
            process.arguments = arguments
        }
        process.standardInput = input
        process.standardOutput = output
        let (handle, reader) = (output.fileHandleForReading, Unchecked(self))
        try process.run()
        Thread.detachNewThread {
            var rest = Data()
            while case let data = handle.availableData, !data.isEmpty {
                rest.append(data)
                while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                    reader.member?.heard(rest[..<end])
                    rest = Data(rest[(end + 1)...])
                }
            }
            reader.member?.failQuestions()
        }
    }

    private struct Unchecked: @unchecked Sendable {
        weak var member: MemberProcess?
        init(_ member: MemberProcess) { self.member = member }
    }

    deinit { end() }

    /// Beside the test bundle.
    private static var program: URL {
        let bundle = Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") } ?? Bundle.main
        var folder = bundle.bundleURL
        if folder.pathExtension == "xctest" { folder.deleteLastPathComponent() }
        return folder.appending(path: "peercache-member")
    }

    private func heard(_ data: Data) {
        if let line = try? JSONDecoder().decode(Line.self, from: data) { return lines.withLock { $0.append(line) } }
        let words = String(decoding: data, as: UTF8.self).split(separator: " ").map(String.init)
        guard let id = words.first else { return }
        questions.withLock { $0.open.removeValue(forKey: id) }?.resume(returning: Array(words.dropFirst()))
    }

    /// The words of its answer; nil: it ended before.
    func ask(_ command: String) async -> [String]? {
        await withCheckedContinuation { continuation in
            let id = questions.withLock { questions -> String? in
                if questions.isOver { return nil }
                questions.asked += 1
                let id = "#\(questions.asked)"
                questions.open[id] = continuation
                return id
            }
            guard let id else { return continuation.resume(returning: nil) }
            // Fails when it has ended, which fails the question too.
            try? input.fileHandleForWriting.write(contentsOf: Data("\(command) \(id)\n".utf8))
        }
    }

    private func failQuestions() {
        let open = questions.withLock { questions in
            questions.isOver = true
            defer { questions.open = [:] }
            return Array(questions.open.values)
        }
        for continuation in open { continuation.resume(returning: nil) }
    }

    var all: [Line] { lines.withLock { $0 } }
    private var listens: Line? { all.first { $0.kind == "listens" } }
    /// Empty until it listens.
    var id: String { listens?.peer ?? "" }
    var address: String { listens?.detail ?? "" }

    /// The present members that it knows beside itself, by what it said.
    var others: Set<String> {
        var present: Set<String> = []
        for line in all {
            switch line.kind {
            case "joined": present.insert(line.peer)
            case "left", "dead", "leaving": present.remove(line.peer)
            default: break
            }
        }
        return present
    }

    /// When it first said this of a member after `time`; nil: it did not.
    func time(of kind: String, _ peer: String, after time: Double = 0) -> Double? {
        all.first { $0.kind == kind && $0.peer == peer && $0.time >= time }?.time
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    var isRunning: Bool { process.isRunning }

    /// Of the peer itself, also inside `ip netns exec`, which becomes the program that it runs.
    func end() {
        defer { failQuestions() }
        guard process.isRunning else { return }
        signal(SIGCONT)
        signal(SIGKILL)
        process.waitUntilExit()
    }
}

/// Seconds since 1970, as the processes print them.
var secondsNow: Double { Date().timeIntervalSince1970 }

struct NotInTime: Error, CustomStringConvertible {
    let description: String
}

/// Polls until the condition holds. The time is only a bound.
func eventually(_ what: String, seconds: Int = 30, _ condition: () async -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < deadline {
        if await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    throw NotInTime(description: "\(what): not within \(seconds) s")
}

/// Starts a cluster of processes and waits until all know each other. All end before the caller goes on.
func withMembers(_ count: Int, _ body: ([MemberProcess]) async throws -> Void) async throws {
    var members: [MemberProcess] = []
    defer { for member in members { member.end() } }
    for number in 0..<count {
        members.append(try MemberProcess("m\(number)", seeds: members.first.map { [$0.address] } ?? []))
        if number == 0 { try await eventually("the first listens") { !members[0].address.isEmpty } }
    }
    try await expectOneView(members, "all know each other")
    try await body(members)
}

/// Waits until these, and no others, are what each of them knows.
func expectOneView(_ members: [MemberProcess], _ what: String, seconds: Int = 30) async throws {
    try await eventually(what, seconds: seconds) {
        let ids = Set(members.map(\.id))
        return !ids.contains("") && members.allSatisfy { $0.others.union([$0.id]) == ids }
    }
}
