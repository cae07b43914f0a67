import ArgumentParser
import NIOCore
import PeerCache

/// A number of copies, and how many holders a write waits for.
struct CopiesVariant {
    var copies: Int
    var ackedBy: Int

    static let all = [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2)].map { CopiesVariant(copies: $0.0, ackedBy: $0.1) }

    func cache(of peer: BenchPeer) -> Cache<String, ByteBuffer> {
        peer.peer.cache(
            "copies-\(copies)-\(ackedBy)", key: String.self, value: ByteBuffer.self,
            options: CacheOptions(copies: copies, ackedBy: ackedBy, nearFor: .zero))
    }
}

/// What replication costs a write.
struct CopiesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "copies",
        abstract: "Sets of keys that another process owns with 1 to 3 copies, acknowledged by 1 or 2 holders, next to Redis SET.",
        discussion: """
            Three processes on loopback: copies.C.A has C copies, and a set returns when A holders have stored it. 2.2 is a strict cache, as \
            are all whose readFrom and ackedBy together exceed the copies; the others are fast. redis SET has no replica; where two \
            acknowledge, also SET and then WAIT 1 with one replica.
            """)

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Turns of ours and theirs; the figures are medians.") var rounds = 5
    @Option(help: "Seconds per figure and turn.") var seconds = 1.0
    @Option(help: "Concurrent callers, separated by commas.") var callers = "50"
    @Option(help: "Bytes of a value.") var valueBytes = 100
    @Option(help: "Keys.") var keys = 10_000
    @Option(help: "Folder with what Benchmarks/Peers/build makes.") var peers = PeerProgram.folder
    @Flag(help: "Without Redis.") var noPeers = false

    func validate() throws {
        guard rounds >= 1, seconds > 0, keys >= 1, valueBytes >= 0 else {
            throw ValidationError("--rounds, --seconds and --keys must be positive, --value-bytes not negative")
        }
        _ = try positiveNumbers(callers, "--callers")
    }

    func run() async throws {
        Machine.write(peers: noPeers ? [:] : PeerProgram.versions(in: peers), asJSON: json)
        let redis = try noPeers ? nil : RedisRun(keys: keys, valueBytes: valueBytes)
        defer { redis?.stop() }
        let waiting = try redis.map { _ in try RedisWait(keys: keys, valueBytes: valueBytes) }
        defer { waiting?.stop() }
        let cluster = try RpcCluster(loops: 1, kind: .copies)
        var measurements = Measurements()
        do {
            let value = ByteBuffer(repeating: 0x78, count: valueBytes)
            try await cluster.fill(keys: keys, value: value)
            for round in 1...rounds {
                Report.progress("copies: round \(round) of \(rounds)")
                for callers in try positiveNumbers(callers, "--callers") {
                    for variant in CopiesVariant.all {
                        var theirs = try [redis?.result(.set, callers: callers, seconds: seconds)].compactMap { $0 }
                        if variant.ackedBy > 1, let waited = try await waiting?.run(clients: callers, seconds: seconds) {
                            theirs.append(RivalResult(name: "redis SET and WAIT 1", load: waited))
                        }
                        let load = RpcLoad(
                            cache: variant.cache(of: cluster.own), keys: cluster.keys, eventLoops: cluster.eventLoops, value: value,
                            seconds: seconds)
                        let ours = try await load.run(.set, callers: callers, round: round)
                        measurements.add("copies.\(variant.copies).\(variant.ackedBy).set.\(callers)", ours, against: theirs)
                    }
                }
            }
        } catch {
            await cluster.stop()
            throw error
        }
        await cluster.stop()
        Report.write(measurements, asJSON: json)
    }
}
