import PeerCacheCore
import Testing

@Suite struct InvalidationSequenceTests {
    @Test func aGapIsFoundByTheNextMessageOrTheNextAnswer() {
        var sequence = InvalidationSequence()
        #expect(sequence.expect(10) && sequence.received(11) && sequence.expect(11) && sequence.received(12))
        #expect(!sequence.received(14) && sequence.received(15))
        #expect(!sequence.expect(17) && sequence.expect(17) && sequence.received(18))
    }

    @Test func lateMessagesAreNoGap() {
        var sequence = InvalidationSequence()
        #expect(sequence.received(5) && sequence.received(6))
        #expect(sequence.received(4) && sequence.expect(5) && sequence.received(7))
    }

    @Test func anyNumberIsSafe() {
        var sequence = InvalidationSequence()
        #expect(sequence.received(.max) && sequence.received(.max) && sequence.expect(.max) && sequence.received(0))
        var other = InvalidationSequence()
        #expect(other.expect(0) && !other.expect(.max) && other.received(.max))
    }
}
