import Foundation
import Logging
import PeerCache

/// One peer in a process of its own, for tests that kill and stop processes. Prints a JSON object per line: what it listens at, then what
/// happens to the membership, with the time. Ends when its standard input does.
///
///     peercache-member HOST:PORT [SEED,SEED…] [NAME] [ADVERTISED-PORT]
///
/// With an advertised port, 0 for the one it listens at, it has caches too and does what its input says (``Commands``).
@main enum Member {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 2, let colon = arguments[1].lastIndex(of: ":"), let port = Int(arguments[1][colon...].dropFirst()) else {
            let usage = "usage: peercache-member HOST:PORT [SEED,SEED…] [NAME] [ADVERTISED-PORT]\n"
            FileHandle.standardError.write(Data(usage.utf8))
            exit(64)
        }
        var configuration = CachePeerConfiguration(cluster: "members")
        configuration.bind = .init(host: String(arguments[1][..<colon]), port: port)
        let seeds = arguments.count > 2 ? arguments[2].split(separator: ",").map(String.init) : []
        configuration.discovery = seeds.isEmpty ? .none : .peers(seeds)
        configuration.security = .sharedSecret("a secret of the tests, long enough")
        configuration.memory = .megabytes(4)
        configuration.identity.name = arguments.count > 3 ? arguments[3] : ""
        configuration.logger.logLevel = .critical
        let advertised = arguments.count > 4 ? Int(arguments[4]) : nil
        if let advertised {
            if advertised > 0 { configuration.advertise = .init(host: configuration.bind.host, port: advertised) }
            configuration.minimumPeers = 3
        }
        let peer = try CachePeer(configuration: configuration)
        let events = peer.events
        readInput(advertised == nil ? nil : Commands(peer))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await peer.run() }
            group.addTask { for await event in events { try print(Line(event)) } }
            while peer.address == nil { try await Task.sleep(for: .milliseconds(2)) }
            try print(Line(time: now, kind: "listens", peer: peer.id, detail: peer.address ?? ""))
            try await group.next()
            group.cancelAll()
        }
    }

    private static func print(_ line: Line) throws {
        try FileHandle.standardOutput.write(contentsOf: JSONEncoder().encode(line) + Data("\n".utf8))
    }

    /// Until it ends, and the process with it.
    private static func readInput(_ commands: Commands?) {
        Thread.detachNewThread {
            while let line = readLine() { commands?.start(line) }
            exit(0)
        }
    }
}

/// Seconds since 1970.
private var now: Double { Date().timeIntervalSince1970 }

private struct Line: Encodable {
    var time: Double
    var kind: String
    var peer: String
    var detail = ""
}

extension Line {
    init(_ event: PeerEvent) {
        let (kind, peer, detail): (String, String, String) =
            switch event {
            case .joined(let member): ("joined", member.id, member.address)
            case .suspected(let id): ("suspected", id, "")
            case .refuted(let id): ("refuted", id, "")
            case .updated(let member): ("updated", member.id, "")
            case .leaving(let id): ("leaving", id, "")
            case .left(let id): ("left", id, "")
            case .dead(let id, let cause): ("dead", id, cause.rawValue)
            case .foreignPeer(let address, let reason): ("foreignPeer", address, reason)
            default: ("\(event)", "", "")
            }
        self.init(time: now, kind: kind, peer: peer, detail: detail)
    }
}
