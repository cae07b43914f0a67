import PeerCacheCore
import PeerCacheTesting

/// Several machines on a virtual network: streams with latency, resets, refusals, partitions. A pure function of its seed and of the calls.
///
/// Simplified: no bandwidth, no loss but by a cut; what is sent over a cut stream is lost, and after 5 s both ends time out.
struct GossipNetwork {
    struct Process {
        var machine: GossipMachine
        let id: PeerID
        let address: PeerAddress
        var isUp = true
        var discovery: [PeerAddress]?
        var accepted: UInt64 = 0
        var tickAt: Instant?
        var events: [MembershipEvent] = []
    }
    /// A stream; end 0 dialled.
    struct Stream {
        var processes: [Int]
        var ids: [ConnectionID]
        var isOpen = [true, true]
        var lastDelivery: [Int64] = [0, 0]
        var stalledAt: Int64?
    }
    enum Occurrence {
        case input(GossipMachine.Input, process: Int)
        case tick(process: Int, at: Int64)
        case syn(from: Int, ConnectionID, PeerAddress, dialledAt: Int64, limit: Int64)
        case handshake(stream: Int, end: Int)
        case deliver(GossipMessage, stream: Int, end: Int)
        case end(GossipMachine.Evidence, stream: Int, end: Int)
        case stall(stream: Int, since: Int64)
    }
    struct Logged: Equatable {
        var at: Int64
        var process: Int
        var effect: GossipMachine.Effect
    }

    static let wallStart: UInt64 = 1_700_000_000_000
    let seed: UInt64
    private var random: SeededRandom
    private(set) var time: Int64 = 0
    private(set) var processes: [Process] = []
    private var streams: [Stream] = []
    private var queue: [(time: Int64, sequence: Int, what: Occurrence)] = []  // latest first
    private var sequence = 0
    private(set) var log: [Logged] = []
    private(set) var messages = 0
    /// Process indices by side; processes of different sides cannot talk.
    var sides: [Int: Int] = [:]
    /// Pairs, lower index first, that cannot talk.
    var blocked: [[Int]] = []
    /// Addresses that refuse although somebody listens.
    var refusing: [PeerAddress] = []
    /// Addresses at which another cluster answers.
    var strangers: [PeerAddress] = []
    var configuration = GossipConfiguration()

    init(seed: UInt64) {
        self.seed = seed
        random = SeededRandom(seed: seed)
    }

    static func address(_ number: Int) -> PeerAddress { PeerAddress(host: "10.0.0.\(number)", port: 7600) }

    // MARK: Running

    /// Starts a process at an address and joins it. Returns its index.
    @discardableResult mutating func start(at address: PeerAddress, discovery: [PeerAddress]?) throws -> Int {
        let id = PeerID(high: random.next(), low: random.next())
        var record = MemberRecord(id: id, address: address)
        record.hlc = hlc
        let machine = try GossipMachine(configuration, me: record, seed: random.next())
        processes.append(Process(machine: machine, id: id, address: address, discovery: discovery))
        let index = processes.count - 1
        handle(.command(.join), at: index)
        return index
    }

    mutating func command(_ command: GossipMachine.Command, at process: Int) { handle(.command(command), at: process) }

    mutating func advance(by duration: Duration) {
        let end = time + duration.nanosecondsSaturating
        while let next = queue.last, next.time <= end {
            queue.removeLast()
            time = next.time
            happen(next.what)
        }
        time = end
    }

    /// Runs until the condition holds; the time it took, or nil after `limit`.
    mutating func advance(upTo limit: Duration, until condition: (GossipNetwork) -> Bool) -> Duration? {
        let start = time
        while !condition(self) {
            if time - start >= limit.nanosecondsSaturating { return nil }
            advance(by: .milliseconds(5))
        }
        return .nanoseconds(time - start)
    }

    mutating func setDiscovery(_ answer: [PeerAddress]?, at process: Int) { processes[process].discovery = answer }

    /// kill -9: the kernel resets the streams and its port refuses.
    mutating func crash(_ process: Int) {
        processes[process].isUp = false
        for index in streams.indices { if let end = streams[index].processes.firstIndex(of: process) { cut(index, from: end) } }
    }

    /// The streams between two processes break; both live.
    mutating func reset(_ one: Int, _ other: Int) {
        for index in streams.indices where streams[index].processes.sorted() == [one, other].sorted() {
            cut(index, from: 0)
            cut(index, from: 1)
        }
    }

    mutating func partition(_ groups: [[Int]]) {
        sides = [:]
        for (side, group) in groups.enumerated() { for process in group { sides[process] = side } }
    }

    mutating func heal() { sides = [:] }

    // MARK: What to look at

    var up: [Int] { processes.indices.filter { processes[$0].isUp } }
    func view(_ process: Int) -> MembershipView { processes[process].machine.snapshot() }
    func placed(_ process: Int) -> [PeerID] { view(process).placed.map(\.id) }
    func status(of member: Int, at process: Int) -> MemberStatus? { view(process).member(processes[member].id)?.status }

    /// Every process that is up has the same digest and holds exactly the processes that are up for placed.
    var agrees: Bool {
        let expected = up.map { processes[$0].id }.sorted()
        return up.allSatisfy { placed($0) == expected && view($0).digest == view(up[0]).digest }
    }

    /// Streams open at both ends between two processes.
    func streamCount(_ one: Int, _ other: Int) -> Int {
        streams.count { $0.isOpen == [true, true] && $0.processes.sorted() == [one, other].sorted() }
    }

    // MARK: Network

    private var hlc: UInt64 { (Self.wallStart + UInt64(time / 1_000_000)) << 16 }
    private var instant: Instant { Instant(nanoseconds: time, hlc: hlc) }
    private mutating func latency() -> Int64 { 300_000 + Int64(random.next() % 400_000) }
    private func isCut(_ one: Int, _ other: Int) -> Bool {
        sides[one] != sides[other] || blocked.contains([min(one, other), max(one, other)])
    }

    private mutating func schedule(_ what: Occurrence, at when: Int64) {
        sequence += 1
        var low = 0, high = queue.count
        while low < high {
            let middle = (low + high) / 2
            if queue[middle].time > when { low = middle + 1 } else { high = middle }
        }
        queue.insert((max(when, time), sequence, what), at: low)
    }

    private mutating func handle(_ input: GossipMachine.Input, at index: Int) {
        var effects: [GossipMachine.Effect] = []
        processes[index].machine.handle(input, now: instant, into: &effects)
        for effect in effects {
            log.append(Logged(at: time, process: index, effect: effect))
            perform(effect, by: index)
        }
        if let due = processes[index].machine.nextDeadline, due != processes[index].tickAt {
            precondition(due.nanoseconds > time, "a deadline in the past would spin, seed \(seed)")
            processes[index].tickAt = due
            schedule(.tick(process: index, at: due.nanoseconds), at: due.nanoseconds)
        }
    }

    private mutating func perform(_ effect: GossipMachine.Effect, by index: Int) {
        switch effect {
        case .dial(let id, let address, _, let limit):
            let arrival = time + latency()
            schedule(.syn(from: index, id, address, dialledAt: time, limit: limit.nanosecondsSaturating), at: arrival)
        case .send(let message, _, let connection):
            guard let connection, let (stream, end) = stream(of: connection, at: index) else { return }
            messages += 1
            send(.deliver(message, stream: stream, end: 1 - end), over: stream, to: 1 - end)
        case .close(let connection, let goodbye):
            guard let (stream, end) = stream(of: connection, at: index) else { return }
            streams[stream].isOpen[end] = false
            send(.end(.closedByPeer(goodbye), stream: stream, end: 1 - end), over: stream, to: 1 - end)
        case .resolve:
            let answer = processes[index].discovery
            schedule(.input(.discovered(answer ?? [], failed: answer == nil), process: index), at: time + latency())
        case .event(let event): processes[index].events.append(event)
        case .trace: break
        }
    }

    private func stream(of connection: ConnectionID, at process: Int) -> (Int, Int)? {
        for index in streams.indices.reversed() {
            for end in 0...1
            where streams[index].ids[end] == connection && streams[index].processes[end] == process && streams[index].isOpen[end] {
                return (index, end)
            }
        }
        return nil
    }

    /// In order; lost while the stream is cut.
    private mutating func send(_ what: Occurrence, over stream: Int, to end: Int) {
        if isCut(streams[stream].processes[0], streams[stream].processes[1]) {
            guard streams[stream].stalledAt == nil else { return }
            streams[stream].stalledAt = time
            return schedule(.stall(stream: stream, since: time), at: time + 5_000_000_000)
        }
        let arrival = max(time + latency(), streams[stream].lastDelivery[end])
        streams[stream].lastDelivery[end] = arrival
        schedule(what, at: arrival)
    }

    private mutating func cut(_ stream: Int, from end: Int) {
        guard streams[stream].isOpen[1 - end] else { return }
        if processes[streams[stream].processes[end]].isUp == false { streams[stream].isOpen[end] = false }
        send(.end(.resetByPeer, stream: stream, end: 1 - end), over: stream, to: 1 - end)
    }

    private mutating func happen(_ what: Occurrence) {
        switch what {
        case .input(let input, let process):
            if processes[process].isUp { handle(input, at: process) }
        case .tick(let process, let at):
            if processes[process].isUp, processes[process].tickAt?.nanoseconds == at {
                processes[process].tickAt = nil
                handle(.tick, at: process)
            }
        case .syn(let from, let id, let address, let dialledAt, let limit):
            arrive(from: from, id, address, dialledAt: dialledAt, limit: limit)
        case .handshake(let stream, let end):
            guard streams[stream].isOpen[end] else { return }
            let (mine, theirs) = (streams[stream].processes[end], streams[stream].processes[1 - end])
            if end == 1 { schedule(.handshake(stream: stream, end: 0), at: time + latency()) }
            handle(.connection(streams[stream].ids[end], .established(processes[theirs].machine.me)), at: mine)
        case .deliver(let message, let stream, let end):
            guard streams[stream].isOpen[end] else { return }
            let (mine, theirs) = (streams[stream].processes[end], streams[stream].processes[1 - end])
            handle(.message(message, from: processes[theirs].id, on: streams[stream].ids[end]), at: mine)
        case .end(let evidence, let stream, let end):
            guard streams[stream].isOpen[end] else { return }
            streams[stream].isOpen[end] = false
            handle(.connection(streams[stream].ids[end], evidence), at: streams[stream].processes[end])
        case .stall(let stream, let since):
            guard streams[stream].stalledAt == since else { return }
            streams[stream].stalledAt = nil
            guard isCut(streams[stream].processes[0], streams[stream].processes[1]) else { return }
            for end in 0...1 where streams[stream].isOpen[end] {
                streams[stream].isOpen[end] = false
                handle(.connection(streams[stream].ids[end], .timedOut), at: streams[stream].processes[end])
            }
        }
    }

    private mutating func arrive(from: Int, _ id: ConnectionID, _ address: PeerAddress, dialledAt: Int64, limit: Int64) {
        guard processes[from].isUp else { return }
        let back = time + latency()
        let host = processes.indices.last { processes[$0].address == address }
        if let host, isCut(from, host) {
            return schedule(.input(.connection(id, .timedOut), process: from), at: dialledAt + limit)
        }
        if strangers.contains(address) {
            return schedule(.input(.connection(id, .foreign(.cluster)), process: from), at: back)
        }
        guard let host, processes[host].isUp, !refusing.contains(address) else {
            return schedule(.input(.connection(id, .refused), process: from), at: back)
        }
        if host == from { return schedule(.input(.connection(id, .foreign(.isSelf)), process: from), at: back) }
        processes[host].accepted += 1
        streams.append(Stream(processes: [from, host], ids: [id, GossipMachine.inbound(processes[host].accepted)]))
        schedule(.handshake(stream: streams.count - 1, end: 1), at: back + latency())
    }
}
