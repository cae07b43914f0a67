/// How far an owner's writes have copies, without an answer to each copy: now and then a round closes the set of writes, waits until all
/// of them have been sent, and asks their holders for a sign that whatever was sent before has been taken in.
package struct CopyProgress: Sendable {
    /// All writes up to this clock have copies.
    package private(set) var through: UInt64 = 0
    /// Clock of the round under way.
    private var round: UInt64?
    /// Writes of the present and of the round under way: those that have begun and not ended, and the slots that were sent to each holder.
    private var writers = [0, 0]
    private var copies: [[PeerID: SlotSet]] = [[:], [:]]
    private var side = 0
    /// The last round did not succeed.
    private var isBehind = false

    package init() {}

    /// A write begins; its stamp is minted after this.
    /// - Returns: for ``sends(_:slot:to:)``, and for ``ended(_:)``, which must follow.
    package mutating func began() -> Int {
        writers[side] += 1
        return side
    }

    /// Copies of the write are about to be sent: a connection that breaks from now on may take them along.
    package mutating func sends(_ side: Int, slot: Slot, to holders: [PeerID]) {
        for holder in holders { copies[side][holder, default: SlotSet()].insert(slot) }
    }

    /// The write's copies are on their way, in order before whatever is sent to the holders from now on.
    package mutating func ended(_ side: Int) { writers[side] -= 1 }

    /// Begins a round unless one is under way or nothing was written. `clock` was minted just now: later writes have higher stamps.
    package mutating func beginRound(clock: UInt64) {
        guard round == nil, writers[side] > 0 || !copies[side].isEmpty || isBehind else { return }
        round = clock
        side = 1 - side
    }

    /// What the round waits for, once all its writes have been sent; nil before, and when there is none.
    package var copiesOfRound: [(holder: PeerID, slots: SlotSet)]? {
        guard round != nil, writers[1 - side] == 0 else { return nil }
        return copies[1 - side].sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Slots of which copies may still be on their way to a holder.
    package func slots(sentTo holder: PeerID) -> SlotSet {
        var slots = copies[0][holder] ?? SlotSet()
        slots.formUnion(copies[1][holder] ?? SlotSet())
        return slots
    }

    /// - Parameter isComplete: all holders have given the sign, and no earlier copy is known to be missing anywhere.
    package mutating func endRound(isComplete: Bool) {
        if isComplete, let round { through = round }
        isBehind = !isComplete
        round = nil
        copies[1 - side] = [:]
    }
}
