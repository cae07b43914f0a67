/// What an eviction policy reads and writes of the entries, which the store owns. A handle of 0 is no entry.
///
/// All calls are made under the lock of the list set. Functions instead of a reference to an entry, so that the store may keep words that
/// readers without a lock look at as atomics.
package protocol PolicyEntries: ~Copyable {
    /// The 32 bits of the key's hash that the entry holds.
    func hash(_ handle: UInt32) -> UInt32
    /// What the entry is charged with. Must not change while the entry is in a list, but for
    /// ``EvictionPolicy/replaced(_:costBefore:explicit:_:)``.
    func cost(_ handle: UInt32) -> Int
    func newer(_ handle: UInt32) -> UInt32
    func older(_ handle: UInt32) -> UInt32
    func setNewer(_ handle: UInt32, _ other: UInt32)
    func setOlder(_ handle: UInt32, _ other: UInt32)
    /// The bits of ``PolicyState``; others may be set.
    func state(_ handle: UInt32) -> UInt8
    /// Replaces the bits under `mask` by those of `bits` and leaves the others as they are.
    func setState(_ handle: UInt32, _ bits: UInt8, mask: UInt8)
    func era(_ handle: UInt32) -> UInt8
    func setEra(_ handle: UInt32, _ era: UInt8)
}

/// The bits of an entry's state byte that belong to the policies.
package enum PolicyState {
    /// Which list the entry is in; 0: none.
    package static let queueMask: UInt8 = 0b0000_0011
    /// Hits that S3-FIFO has not spent yet, 0...3.
    package static let frequencyMask: UInt8 = 0b0000_1100
    package static let frequencyShift: UInt8 = 2
    /// Came by an explicit write and has not left the window yet: it is not compared then.
    package static let admitted: UInt8 = 0b0100_0000
    package static let all = queueMask | frequencyMask | admitted

    /// The state after a hit under S3-FIFO; nil when it stays as it is. Readers without a lock ask whether it changes.
    @inline(__always)
    package static func afterHit(_ state: UInt8) -> UInt8? {
        state & frequencyMask == frequencyMask ? nil : state &+ (1 << frequencyShift)
    }
}

extension PolicyEntries where Self: ~Copyable {
    @inline(__always)
    func queue(_ handle: UInt32) -> UInt8 { state(handle) & PolicyState.queueMask }

    @inline(__always)
    func setQueue(_ handle: UInt32, _ queue: UInt8) { setState(handle, queue, mask: PolicyState.queueMask) }

    @inline(__always)
    func frequency(_ handle: UInt32) -> UInt8 { (state(handle) & PolicyState.frequencyMask) >> PolicyState.frequencyShift }

    @inline(__always)
    func setFrequency(_ handle: UInt32, _ frequency: UInt8) {
        setState(handle, frequency << PolicyState.frequencyShift, mask: PolicyState.frequencyMask)
    }
}

/// Memory of a policy beside the entries: sketch or ghosts. The caller counts it.
package protocol PolicyMemory: ~Copyable {
    /// Memory for lines, aligned to 64 bytes, whatever it contains; nil when there is none left. Asked for 512 to 16,384 bytes.
    func allocateLines(bytes: Int) -> UnsafeMutableRawPointer?
    /// Takes back what ``allocateLines(bytes:)`` gave for the same number of bytes.
    func deallocateLines(_ memory: UnsafeMutableRawPointer, bytes: Int)
    /// Memory for a directory: 8 bytes, rounded up to a power of two, for each 16 KiB of lines.
    func allocate(bytes: Int) -> UnsafeMutableRawPointer?
    /// Takes back what ``allocate(bytes:)`` gave for the same number of bytes.
    func deallocate(_ memory: UnsafeMutableRawPointer, bytes: Int)
}

extension PolicyMemory where Self: ~Copyable {
    package func allocateLines(bytes: Int) -> UnsafeMutableRawPointer? { allocate(bytes: bytes) }
    package func deallocateLines(_ memory: UnsafeMutableRawPointer, bytes: Int) { deallocate(memory, bytes: bytes) }
}
