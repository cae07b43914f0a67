internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// Address space and memory from the system: the only file of the store with system calls.
///
/// Memory that was committed once stays readable until the reservation is released, also after ``decommit(_:_:)``: a reader with an
/// outdated handle reads old bytes or zeros, and does not fault.
package final class PageSource: Sendable {
    /// Start and length of a range of addresses.
    struct Reservation {
        var base: UnsafeMutableRawPointer
        var bytes: Int
        /// What the system gave, before alignment.
        fileprivate var raw: UnsafeMutableRawPointer
        fileprivate var rawBytes: Int
    }

    static let alignment = 2 << 20

    private let requests = Atomic<Int>(0)
    private let failing: Int?

    /// - Parameter failing: number of the request that fails, counted from 0; for tests. Nil: none but those the system refuses.
    package init(failing: Int? = nil) { self.failing = failing }

    /// Requests so far: what a test may let fail.
    package var requestCount: Int { requests.load(ordering: .relaxed) }

    private func fails() -> Bool { requests.wrappingAdd(1, ordering: .relaxed).oldValue == failing }

    /// Addresses without memory, aligned to 2 MiB.
    func reserve(_ bytes: Int) -> Reservation? {
        let rawBytes = bytes + Self.alignment
        guard !fails(), let raw = mmap(nil, rawBytes, PROT_NONE, MAP_PRIVATE | Self.anonymous, -1, 0), raw != MAP_FAILED else { return nil }
        let aligned = (UInt(bitPattern: raw) + UInt(Self.alignment) - 1) & ~(UInt(Self.alignment) - 1)
        return Reservation(base: raw + Int(aligned - UInt(bitPattern: raw)), bytes: bytes, raw: raw, rawBytes: rawBytes)
    }

    func release(_ reservation: Reservation) { munmap(reservation.raw, reservation.rawBytes) }

    /// Makes a range writable; it reads as zeros. False: the system has none.
    func commit(_ start: UnsafeMutableRawPointer, _ bytes: Int, huge: Bool = false) -> Bool {
        guard !fails(), mprotect(start, bytes, PROT_READ | PROT_WRITE) == 0 else { return false }
        #if os(Linux)
        if huge { madvise(start, bytes, MADV_HUGEPAGE) }
        #endif
        return true
    }

    /// Whether a range that was decommitted may be used again. The system fills it when it is touched.
    func recommit() -> Bool { !fails() }

    /// Keeps the system from filling the holes that ``decommit(_:_:)`` will leave in these 2 MiB.
    func forbidHugePages(_ start: UnsafeMutableRawPointer, _ bytes: Int) {
        #if os(Linux)
        madvise(start, bytes, MADV_NOHUGEPAGE)
        #endif
    }

    /// Gives the memory of a range back; its addresses stay readable.
    func decommit(_ start: UnsafeMutableRawPointer, _ bytes: Int) {
        #if os(Linux)
        madvise(start, bytes, MADV_DONTNEED)
        #else
        madvise(start, bytes, MADV_FREE)
        #endif
    }

    #if canImport(Darwin)
    private static let anonymous = MAP_ANON
    #else
    private static let anonymous = MAP_ANONYMOUS | MAP_NORESERVE
    #endif
}
