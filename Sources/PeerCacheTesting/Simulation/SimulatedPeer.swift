internal import PeerCacheCore

/// A process: one machine and what its shell would hold.
final class SimulatedPeer {
    /// What waits for a process that is paused or slow.
    enum Held {
        case connected(SimulatedStream)
        case delivered(StreamPayload, SimulatedStream, end: Int)
        case message([UInt8], SimulatedStream, end: Int)
        case evidence(ConnectionID, GossipMachine.Evidence)
        case discovered
        case command(GossipMachine.Command)
    }
    let number: Int
    let seat: Int
    let id: PeerID
    let address: PeerAddress
    let isStranger: Bool
    let startedAt: Int64
    var machine: GossipMachine
    var isUp = true
    var hasLeft = false
    var leftAt: Int64?
    var isPaused = false
    var pauseGeneration = 0
    /// While slow: the most that an input takes, and when the last one is done.
    var slowness: Int64 = 0
    var busyUntil: Int64 = 0
    var held: [Held] = []
    var clock = HybridLogicalClock()
    var accepted: UInt64 = 0
    /// When the machine wants its tick, and the earliest entry for it in the queue.
    var deadline: Int64?
    var wakesAt: Int64?
    /// Established ends by connection; looked up. For walks: ``openConnections``.
    var connections: [ConnectionID: (stream: SimulatedStream, end: Int)] = [:]
    /// Own dials that have not ended.
    var dials: [ConnectionID: SimulatedStream] = [:]
    /// Accepted streams before their handshake is done.
    var handshakes: [Int: SimulatedStream] = [:]
    /// Connections to each peer, oldest first.
    var byPeer: [PeerID: [ConnectionID]] = [:]
    var version: UInt64 = 0
    /// What the table was when it was last looked at, for the invariants.
    var known: [KnownMember] = []
    var inputsNow = 0
    var lastInputAt: Int64 = -1

    init(number: Int, seat: Int, record: MemberRecord, machine: GossipMachine, isStranger: Bool, at time: Int64) {
        self.number = number
        self.seat = seat
        id = record.id
        address = record.address
        self.machine = machine
        self.isStranger = isStranger
        startedAt = time
    }

    /// In order of their ids.
    var openConnections: [ConnectionID] { connections.keys.sorted() }

    func forget(_ connection: ConnectionID, of peer: PeerID?) {
        connections[connection] = nil
        guard let peer else { return }
        byPeer[peer]?.removeAll { $0 == connection }
        if byPeer[peer]?.isEmpty == true { byPeer[peer] = nil }
    }
}

/// A table entry as the invariants remember it.
struct KnownMember {
    var id: PeerID
    var incarnation: UInt32
    var status: MemberStatus
}
