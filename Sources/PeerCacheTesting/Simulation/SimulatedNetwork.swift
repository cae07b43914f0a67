internal import PeerCacheCore

/// Hosts and what is between them, on virtual time: packets with latency and loss, streams made of packets, messages alone.
///
/// A pure function of its seed and of the calls. The owner takes what happens with ``next(until:)`` and answers with calls.
final class SimulatedNetwork {
    /// What reaches a process.
    enum Happening {
        /// The dial got through to a kernel: send the hello.
        case connected(SimulatedStream)
        /// The dial or the handshake was reset.
        case refused(SimulatedStream)
        case delivered(StreamPayload, SimulatedStream, end: Int)
        /// An open end was reset.
        case reset(SimulatedStream, end: Int)
        /// Nothing was acknowledged for ``streamTimeout``.
        case expired(SimulatedStream, end: Int)
        case message([UInt8], SimulatedStream, end: Int)
        case timer(Timer)
    }
    /// The owner's own entries in the queue.
    enum Timer {
        case wake(process: Int, at: Int64)
        case dialLimit(SimulatedStream)
        case refusedHere(SimulatedStream)
        case resume(process: Int, generation: Int)
        case slow(process: Int)
        case discovered(process: Int)
        /// An action of the owner, by its number.
        case action(Int)
    }
    /// A computer: what its kernel and a proxy before it do, whatever runs there.
    struct Host {
        /// Nothing comes in or goes out.
        var isLost = false
        /// The process that listens; -1: none, the kernel refuses.
        var process = -1
        var refusesInbound = false
        var refusesOutbound = false
        /// Hosts whose dials are refused.
        var refusedHosts: [Int] = []
        /// A proxy accepts although nobody listens; nothing follows.
        var acceptsForDead = false
        /// In milliseconds of the wall clock.
        var clockOffset: Int64 = 0
    }
    enum Packet {
        case syn
        case synAck
        case data(number: Int, StreamPayload?, bytes: Int)
        case pure
        case reset
    }
    enum Occurrence {
        case packet(Packet, SimulatedStream, to: Int, below: Int, held: [Int])
        /// On a loss-free link without anything under way: no numbers, no acknowledgement.
        case direct(StreamPayload, SimulatedStream, to: Int)
        case message([UInt8], SimulatedStream, to: Int)
        case senderTimer(SimulatedStream, end: Int, at: Int64)
        case acknowledge(SimulatedStream, end: Int, at: Int64)
        case synAgain(SimulatedStream, wait: Int64)
        case timer(Timer)
    }

    /// Bytes per packet for IP, TCP with timestamps; and for a TLS record with its length prefix.
    static let headerBytes = 52, recordBytes = 26
    /// What `GOSSIP.md` §14 adds to each message.
    static let messageOverhead = 28

    private(set) var time: Int64 = 0
    var random: SeededRandom
    var quality = LinkQuality()
    var hosts: [Host] = []
    /// Directed pairs that lose everything: from << 32 | to. Looked up, never iterated.
    var cuts: Set<UInt64> = []
    /// Sides of a partition by host; hosts of different sides do not hear each other.
    var sides: [Int] = []
    /// Time without acknowledgement after which a stream ends.
    var streamTimeout: Int64 = 30_000_000_000
    var wireBytes: Int64 = 0
    private(set) var packets = 0
    private(set) var events = 0
    private var burstEnds: [UInt64: Int64] = [:]
    private var queue = EventQueue<Occurrence>()
    private var streamCount = 0
    /// Happenings of the present occurrence that the owner has not taken yet, first one last.
    private var pending: [Happening] = []

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    // MARK: Time

    /// The next thing that reaches a process, at most at `end`; nil: none, and the time is `end`.
    func next(until end: Int64) -> Happening? {
        while true {
            if let happening = pending.popLast() { return happening }
            guard let due = queue.nextTime, due <= end, let entry = queue.pop() else {
                time = max(time, end)
                return nil
            }
            time = max(time, entry.time)
            events += 1
            happen(entry.payload)
            if pending.count > 1 { pending.reverse() }
        }
    }

    func schedule(_ timer: Timer, at time: Int64) { queue.push(.timer(timer), at: max(time, self.time)) }

    func push(_ occurrence: Occurrence, at time: Int64) { queue.push(occurrence, at: time) }

    func report(_ happening: Happening) { pending.append(happening) }

    // MARK: Paths

    func isCut(from: Int, to: Int) -> Bool {
        if from < 0 || to < 0 || hosts[from].isLost || hosts[to].isLost { return true }
        if from < sides.count, to < sides.count, sides[from] != sides[to] { return true }
        return !cuts.isEmpty && cuts.contains(Self.pair(from, to))
    }

    static func pair(_ from: Int, _ to: Int) -> UInt64 { UInt64(from) << 32 | UInt64(to) }

    /// Whether the packet that is sent now gets lost.
    func loses(from: Int, to: Int) -> Bool {
        if isCut(from: from, to: to) || random.happens(perMillion: quality.lossPerMillion) { return true }
        guard quality.burstsPerMillion > 0 else { return false }
        let pair = Self.pair(from, to)
        if let end = burstEnds[pair], time < end { return true }
        guard random.happens(perMillion: quality.burstsPerMillion) else { return false }
        burstEnds[pair] = time + random.exponential(mean: quality.burstLength)
        return true
    }

    // MARK: Messages alone

    /// Sends a frame outside the stream's order; it may be lost, overtaken or doubled.
    func sendMessage(_ frame: [UInt8], _ stream: SimulatedStream, to end: Int) {
        wireBytes += Int64(frame.count + Self.messageOverhead)
        let from = stream.ends[1 - end].host, to = stream.ends[end].host
        for copy in 0..<2 {
            if copy == 1, !random.happens(perMillion: quality.duplicatesPerMillion) { break }
            packets += 1
            if loses(from: from, to: to) { continue }
            push(.message(frame, stream, to: end), at: time + quality.delay(&random))
        }
    }

    func makeStream(from host: Int, to address: PeerAddress) -> SimulatedStream {
        streamCount += 1
        return SimulatedStream(number: streamCount, from: host, to: address, at: time)
    }

    func countPacket() { packets += 1 }
}
