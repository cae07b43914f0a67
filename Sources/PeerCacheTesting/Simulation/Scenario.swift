package import PeerCacheCore

/// How messages travel: all on streams, or probes and gossip as messages of their own that may get lost.
package enum Carriage: String, Hashable, Sendable { case streams, messages }

/// What happens to a cluster: everything that a run depends on besides its seed.
///
/// Peers sit on *seats*, numbered from 0: a host with an address. A restart puts a new process on a seat.
package struct Scenario: Hashable, Sendable {
    package struct TimedFault: Hashable, Sendable {
        /// Nanoseconds since the start.
        package var at: Int64
        package var fault: Fault

        package init(at: Int64, _ fault: Fault) {
            self.at = at
            self.fault = fault
        }
    }
    /// Seats whose processes start at the beginning.
    package var peers: Int
    package var carriage = Carriage.streams
    package var quality = LinkQuality()
    package var configuration = GossipConfiguration()
    /// The first starts come at random within this time, in nanoseconds.
    package var startSpread: Int64 = 0
    /// In order of time.
    package var faults: [TimedFault] = []
    /// When everything that is broken gets whole again; crashed and lost seats stay empty.
    package var length: Int64 = 0
    /// Time after `length` by which all views must be equal.
    package var healLimit: Int64 = 60_000_000_000
    /// Zones that the seats take in turn; 0: none.
    package var zones = 0

    package init(peers: Int) { self.peers = peers }
}

/// One thing that goes wrong, or is done. Seats are numbers; times are in nanoseconds. A fault that finds nobody does nothing.
package enum Fault: Hashable, Sendable {
    // Processes.
    /// kill -9: the kernel closes the sockets and refuses.
    case crash(Int)
    /// The host is gone: silence.
    case loseHost(Int)
    /// SIGSTOP: the kernel goes on, timers fire late.
    case pause(Int, for: Int64)
    /// Each input takes up to this long.
    case slow(Int, by: Int64, for: Int64)
    case clockOffset(Int, milliseconds: Int64)
    /// A new process where none runs, with a new identity.
    case start(Int)
    /// Crash, and a new process at the address after the time given.
    case restart(Int, after: Int64)
    /// A process on an empty seat with the identity of another one: a cloned computer.
    case clone(Int, to: Int)
    case leave(Int)
    case update(Int)
    /// A process of another cluster takes the seat.
    case startStranger(Int)
    // Paths.
    case cutOneWay(from: Int, to: Int, for: Int64)
    case partition([[Int]], for: Int64)
    case lossPerMillion(UInt32, for: Int64)
    // A proxy before the peer.
    case reset(Int)
    case refuseInbound(Int, for: Int64)
    case refuseOutbound(Int, for: Int64)
    case refuseBoth(Int, for: Int64)
    case refuseFrom(Int, dialers: [Int], for: Int64)
    /// Accepts and hangs while nobody listens.
    case acceptForDead(Int, for: Int64)
    // Discovery, of one seat or of all (nil).
    case discovery(Int?, DiscoveryState, for: Int64)
}

/// What discovery answers.
package enum DiscoveryState: Hashable, Sendable {
    /// The seats in use.
    case right
    /// What it answered when the state began.
    case stale
    case empty
    /// Of the right answer only the first so many.
    case partial(Int)
    case failing
}

extension Scenario: CustomStringConvertible {
    package var description: String {
        let milliseconds = { (time: Int64) in "\(time / 1_000_000) ms" }
        let lines = faults.map { "  \(milliseconds($0.at)): \($0.fault)" }.joined(separator: "\n")
        return """
            \(peers) peers on \(carriage), loss \(quality.lossPerMillion) and bursts \(quality.burstsPerMillion) per million, \
            starts within \(milliseconds(startSpread)), \(milliseconds(length)) long
            \(lines)
            """
    }
}
