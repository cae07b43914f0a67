import PeerCacheCore
import Testing

@Suite struct CopyProgressTests {
    private let holder = PeerID(high: 1, low: 1)

    private func slot(_ index: Int) throws -> Slot { try #require(Slot(index: index)) }

    @Test func aRoundWaitsForItsWritesAndNotForLaterOnes() throws {
        var progress = CopyProgress()
        let first = progress.began()
        progress.beginRound(clock: 10)
        let second = progress.began()
        #expect(progress.copiesOfRound == nil && progress.through == 0)
        progress.sends(first, slot: try slot(3), to: [holder])
        progress.ended(first)
        let copies = try #require(progress.copiesOfRound), third = try slot(3)
        #expect(copies.count == 1 && copies[0].holder == holder && copies[0].slots.contains(third))
        progress.endRound(isComplete: true)
        #expect(progress.through == 10)
        progress.beginRound(clock: 20)
        #expect(progress.copiesOfRound == nil)
        progress.sends(second, slot: try slot(4), to: [holder])
        progress.ended(second)
        #expect(progress.copiesOfRound?.count == 1)
        progress.endRound(isComplete: false)
        #expect(progress.through == 10 && progress.copiesOfRound == nil)
        progress.beginRound(clock: 30)
        #expect(progress.copiesOfRound?.isEmpty == true, "the last one was in vain")
        progress.endRound(isComplete: true)
        progress.beginRound(clock: 40)
        #expect(progress.through == 30 && progress.copiesOfRound == nil, "nothing was written")
    }

    @Test func whatIsOnItsWayToAHolderIsThatOfBothRounds() throws {
        var progress = CopyProgress()
        let slots = try (3...5).map { try slot($0) }
        for slot in slots {
            let side = progress.began()
            progress.sends(side, slot: slot, to: [holder])
            progress.ended(side)
            progress.beginRound(clock: 10)
        }
        #expect(progress.slots(sentTo: holder) == SlotSet(slots))
        #expect(progress.slots(sentTo: PeerID(high: 2, low: 2)).isEmpty)
        progress.endRound(isComplete: true)
        #expect(progress.slots(sentTo: holder) == SlotSet(slots[1...]))
    }
}

@Suite struct CallerJournalTests {
    private let owner = PeerID(high: 1, low: 1), other = PeerID(high: 2, low: 2)

    private func entry(_ key: UInt8, _ clock: UInt64) -> CallerJournal.Entry {
        .init(cache: CacheIndex(1), key: [key], stamp: Stamp(clock: clock, origin: 1))
    }

    @Test func entriesStayUntilTheirOwnerHasCopiesOrIsGone() {
        var journal = CallerJournal()
        for clock in 1...5 as ClosedRange<UInt64> { _ = journal.note(entry(UInt8(clock), clock), at: owner) }
        _ = journal.note(entry(9, 2), at: other)
        #expect(journal.count == 6 && journal.owners == [owner, other])
        journal.copied(through: 3, by: owner)
        #expect(journal.count == 3)
        let taken = journal.take(of: owner), again = journal.take(of: owner)
        #expect(taken == [entry(4, 4), entry(5, 5)] && again == nil && journal.count == 1)
        journal.copied(through: .max, by: other)
        #expect(journal.count == 0 && journal.owners.isEmpty)
    }

    @Test func whatHasNoRoomIsRefused() {
        var journal = CallerJournal(countMax: 2, bytesMax: 1 << 20)
        var notes = [journal.note(entry(1, 1), at: owner), journal.note(entry(2, 2), at: other), journal.note(entry(3, 3), at: owner)]
        journal.copied(through: 1, by: owner)
        notes.append(journal.note(entry(3, 3), at: owner))
        #expect(notes == [true, true, false, true])
        var small = CallerJournal(countMax: 100, bytesMax: 130)
        notes = [small.note(entry(1, 1), at: owner), small.note(entry(2, 2), at: owner), small.note(entry(3, 3), at: owner)]
        #expect(notes == [true, true, false])
    }
}
