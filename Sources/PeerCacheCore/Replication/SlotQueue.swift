/// Slots to be fetched from one holder, in pages, one at a time.
struct SlotQueue: Sendable {
    /// Slots to be fetched; those before `first` have been.
    private(set) var slots: [Slot] = []
    private var first = 0
    /// Where to go on in the slot that is next.
    var bucket = 0
    var call: UInt64?
    var retryAt: Instant?
    /// Until then the holder is not asked again what it still holds of the rest.
    var asksRestAt: Instant?

    var rest: ArraySlice<Slot> { slots[first...] }

    mutating func append(_ slot: Slot) { slots.append(slot) }

    /// O(slots that wait).
    /// - Parameter keepsCall: what is under way is not about any of them.
    mutating func remove(_ gone: SlotSet, keepsCall: Bool = false) {
        guard let next = rest.first, rest.contains(where: { gone.contains($0) }) else { return }
        (slots, first) = (rest.filter { !gone.contains($0) }, 0)
        if gone.contains(next) { bucket = 0 }
        if !keepsCall { call = nil }  // it may bring a page that is not for what comes next
    }

    /// The first `count` of these slots are done, and `next` is where the one behind them goes on. Some may have been removed meanwhile.
    mutating func finish(_ asked: [Slot], count: Int, next: Int) {
        for slot in asked.prefix(count) where rest.first == slot { first += 1 }
        bucket = count < asked.count && rest.first == asked[count] ? next : 0
        if first == slots.count { (slots, first) = ([], 0) }
    }
}
