/// Once per period: what nobody waits for.
extension GossipMachine {
    private static let historyEvery = Duration.seconds(10)
    private static let historyMax = 7

    mutating func keepHouse() {
        let now = now
        if configuration.isObserver { return dropOldSyncs() }
        moveCutoff()
        refreshWatched()
        if idleAt.map({ $0 <= now }) ?? true {
            idleAt = now + Self.historyEvery
            closeIdle()
        }
        dropOldSyncs()
        noteIsolation()
        rests.removeAll { _, until in until <= now }
    }

    /// Whether more than half of the members of a minute ago are suspect or dead here, and newcomers do not make up for them, also such as
    /// have left on purpose since.
    private mutating func noteIsolation() {
        if historyAt.map({ $0 <= now }) ?? true {
            historyAt = now + Self.historyEvery
            if placedHistory.count >= Self.historyMax { placedHistory.removeFirst() }
            placedHistory.append(Placed(others: placedCount - 1, lost: lostCount, left: leftCount))
        }
        guard let then = placedHistory.max(by: { $0.others < $1.others }) else { return }
        let lost = suspectCount + max(0, lostCount - then.lost), alive = placedCount - 1 - suspectCount
        let isNow = 2 * lost > then.others && alive + leftCount - then.left < lost
        if isNow, !isIsolated { emit(.isolated) }
        isIsolated = isNow
    }

    /// A reading of the table.
    struct Placed: Sendable {
        /// Members that held slots, without this peer.
        var others: Int
        /// ``GossipMachine/lostCount``.
        var lost: Int
        /// ``GossipMachine/leftCount``.
        var left: Int
    }
}
