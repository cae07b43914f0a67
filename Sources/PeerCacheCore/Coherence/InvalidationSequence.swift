/// Whether everything has arrived that one owner told this peer about its near copies. Owners number what they tell each receiver.
package struct InvalidationSequence: Sendable {
    /// Highest number that was seen; nil: nothing was shared yet, so nothing can be missed.
    private var last: UInt64?

    package init() {}

    /// A message came. False: one before it is missing.
    package mutating func received(_ number: UInt64) -> Bool { advance(to: number, isOwnNumber: true) }

    /// An answer came that was given after `number` had been told. False: a message is missing.
    package mutating func expect(_ number: UInt64) -> Bool { advance(to: number, isOwnNumber: false) }

    private mutating func advance(to number: UInt64, isOwnNumber: Bool) -> Bool {
        guard let last else {
            self.last = number
            return true
        }
        // Late: over another connection, or handed to a slower thread.
        guard number > last else { return true }
        self.last = number
        return isOwnNumber && number == last + 1
    }
}
