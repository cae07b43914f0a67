import ArgumentParser
import Foundation
import Logging
import PeerCache

/// One of the processes of ``MembersCommand``: runs a peer and prints what happens to the membership.
struct MemberCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "member", shouldDisplay: false)

    @Option var seed: [String] = []

    func run() async throws {
        ChildProcess.endWithStandardInput()
        var configuration = CachePeerConfiguration(cluster: "bench")
        configuration.bind = .init(host: "127.0.0.1", port: 0)
        configuration.discovery = seed.isEmpty ? .none : .peers(seed)
        configuration.security = .sharedSecret("a secret of the benchmark, long enough")
        configuration.memory = .megabytes(4)
        configuration.logger.logLevel = .critical
        let peer = try CachePeer(configuration: configuration)
        let events = peer.events
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await peer.run() }
            while peer.address == nil { try await Task.sleep(for: .milliseconds(2)) }
            try say("listens", peer.id, peer.address ?? "")
            for await event in events {
                switch event {
                case .joined(let member): try say("joined", member.id, member.address)
                case .dead(let id, let cause): try say("dead", id, cause.rawValue)
                default: break
                }
            }
            try await group.waitForAll()
        }
    }

    private struct Line: Encodable {
        var time: Double
        var kind: String
        var peer: String
        var detail: String
    }

    private func say(_ kind: String, _ peer: String, _ detail: String) throws {
        let line = Line(time: Date().timeIntervalSince1970, kind: kind, peer: peer, detail: detail)
        try FileHandle.standardOutput.write(contentsOf: JSONEncoder().encode(line) + Data("\n".utf8))
    }
}
