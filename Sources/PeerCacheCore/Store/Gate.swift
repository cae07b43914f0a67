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
    /// The era of the shard's recency; a hit of another era moves.
    var era: UnsafeMutablePointer<Atomic<UInt32>> { (address + 8).assumingMemoryBound(to: Atomic<UInt32>.self) }

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
