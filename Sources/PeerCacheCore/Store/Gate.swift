internal import Synchronization

/// What readers without a lock share with the writer of a shard: one cache line.
///
/// The sequence is odd while something that a reader follows is changing. A reader notes it before, reads whatever it finds, and believes
/// it only if the sequence is even and the same after (Lameter, "Effective Synchronization on Linux/NUMA Systems", 2005).
struct Gate: @unchecked Sendable {  // unchecked: an address; what lies there is atomic
    static let bytes = 128

    private let address: UnsafeMutableRawPointer

    /// - Parameter address: ``bytes`` zero bytes that live as long.
    init(_ address: UnsafeMutableRawPointer) { self.address = address }

    private var sequence: UnsafeMutablePointer<Atomic<UInt64>> { address.assumingMemoryBound(to: Atomic<UInt64>.self) }
    /// Which hits the shard wants to hear of.
    @inline(__always)
    var era: ReaderEra { ReaderEra(word: (address + 8).assumingMemoryBound(to: Atomic<UInt32>.self)) }

    /// Runs a change of what readers follow. Under the shard's lock; as short as can be.
    @inline(__always)
    func change(_ body: () -> Void) {
        let number = sequence.pointee.load(ordering: .relaxed)
        sequence.pointee.store(number &+ 1, ordering: .relaxed)
        // Who sees a word of the change, or of what is written after it, sees the odd number too.
        atomicMemoryFence(ordering: .releasing)
        body()
        sequence.pointee.store(number &+ 2, ordering: .releasing)
    }

    /// The number to compare later; odd: a change is going on.
    @inline(__always)
    func begin() -> UInt64 { sequence.pointee.load(ordering: .acquiring) }

    /// Whether everything read since ``begin()`` belongs together.
    @inline(__always)
    func isUnchanged(since number: UInt64) -> Bool {
        atomicMemoryFence(ordering: .acquiring)
        return sequence.pointee.load(ordering: .relaxed) == number
    }
}

/// Tells readers without a lock which hits change the order of values: only for those they try to get it.
struct ReaderEra: @unchecked Sendable {  // unchecked: an address; what lies there is atomic
    let word: UnsafeMutablePointer<Atomic<UInt32>>

    /// Values above those of eras.
    private static let eachHit: UInt32 = 256
    private static let unsaturated: UInt32 = 257

    /// The first hit of an entry in this era.
    func set(_ era: UInt8) { word.pointee.store(UInt32(era), ordering: .relaxed) }

    func setEachHit() { word.pointee.store(Self.eachHit, ordering: .relaxed) }

    /// Hits of entries that do not carry the highest frequency yet.
    func setUnsaturated() { word.pointee.store(Self.unsaturated, ordering: .relaxed) }

    /// - Parameter tail: the entry's last word: cache, state and era.
    @inline(__always)
    func wantsHit(_ tail: UInt32) -> Bool {
        let word = word.pointee.load(ordering: .relaxed)
        if word < Self.eachHit { return tail &>> 24 != word }
        return word == Self.eachHit || PolicyState.afterHit(UInt8(truncatingIfNeeded: tail &>> 16)) != nil
    }
}
