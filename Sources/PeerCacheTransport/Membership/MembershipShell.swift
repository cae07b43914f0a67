internal import Logging
internal import NIOCore
internal import PeerCacheCore

/// Drives the pure `GossipMachine`: one event loop feeds it, carries out its effects in order and keeps its timer.
final class MembershipShell: Sendable {
    /// What the machine asks of the transport.
    struct Actions: Sendable {
        var dial: @Sendable (ConnectionID, PeerAddress, PeerID?, Duration) -> Void
        var send: @Sendable (GossipMessage, PeerID, ConnectionID?) -> Void
        var close: @Sendable (ConnectionID, Goodbye) -> Void
        var resolve: @Sendable () -> Void
        var event: @Sendable (MembershipEvent) -> Void
        var trace: @Sendable (GossipTrace) -> Void
        var changed: @Sendable (MembershipView) -> Void
    }

    private struct State {
        var machine: GossipMachine
        var timer: Scheduled<Void>?
        var deadline: Instant?
        var version: UInt64?
        var isStopped = false
    }

    private let loop: any EventLoop
    private let clock: ClusterClock
    private let actions: Actions
    private let state: Lock<State>

    init(machine: GossipMachine, loop: any EventLoop, clock: ClusterClock, actions: Actions) {
        self.loop = loop
        self.clock = clock
        self.actions = actions
        state = Lock(State(machine: machine))
    }

    /// Hands an input to the machine. From any thread; inputs of one thread keep their order. `done` is called when it has been handled.
    func handle(_ input: GossipMachine.Input, done: @escaping @Sendable () -> Void = {}) {
        loop.execute {
            self.step(input)
            done()
        }
    }

    /// Announces that this peer has left, or falls silent. Returns when that is done, or when the loop runs no more; no event comes after that.
    func finish(isLeaving: Bool) async {
        try? await loop.submit {
            if isLeaving { self.step(.command(.stopped)) }
            self.stop()
        }.get()
    }

    /// The member list as the machine sees it now. One lock.
    var view: MembershipView { state.withLock { $0.machine.snapshot() } }

    var solitude: Solitude? { state.withLock { $0.machine.solitude } }

    var myRecord: MemberRecord { state.withLock { $0.machine.me } }

    private func stop() {
        state.withLock { state in
            state.isStopped = true
            state.timer?.cancel()
        }
    }

    private func step(_ input: GossipMachine.Input) {
        let now = clock.now()
        var effects: [GossipMachine.Effect] = []
        let changed: MembershipView? = state.withLock { state in
            guard !state.isStopped else { return nil }
            state.machine.handle(input, now: now, into: &effects)
            schedule(&state, now)
            let view = state.machine.snapshot()
            guard view.version != state.version else { return nil }
            state.version = view.version
            return view
        }
        for effect in effects { perform(effect) }
        if let changed { actions.changed(changed) }
    }

    private func schedule(_ state: inout State, _ now: Instant) {
        let deadline = state.machine.nextDeadline
        guard deadline != state.deadline || state.timer == nil else { return }
        state.timer?.cancel()
        state.deadline = deadline
        state.timer = deadline.map { deadline in
            let wait = max(0, deadline.nanoseconds - now.nanoseconds)
            return loop.scheduleTask(in: .nanoseconds(wait)) {
                self.state.withLock { $0.timer = nil }
                self.step(.tick)
            }
        }
    }

    private func perform(_ effect: GossipMachine.Effect) {
        switch effect {
        case .dial(let id, let address, let expected, let limit): actions.dial(id, address, expected, limit)
        case .send(let message, let peer, let connection): actions.send(message, peer, connection)
        case .close(let id, let goodbye): actions.close(id, goodbye)
        case .resolve: actions.resolve()
        case .event(let event): actions.event(event)
        case .trace(let trace): actions.trace(trace)
        }
    }
}
