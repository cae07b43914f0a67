#if canImport(Darwin)
internal import Darwin
#elseif canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// A lock at an address of its owner's choosing, so that it shares a cache line with what it guards. The owner calls ``initialize`` before
/// the first use and ``destroy`` after the last.
struct NearLock {
    #if canImport(Darwin)
    typealias Storage = os_unfair_lock_s
    #else
    typealias Storage = pthread_mutex_t
    #endif

    private let storage: UnsafeMutablePointer<Storage>

    init(at address: UnsafeMutableRawPointer) { storage = address.assumingMemoryBound(to: Storage.self) }

    #if canImport(Darwin)
    func initialize() { storage.initialize(to: os_unfair_lock_s()) }
    func destroy() { storage.deinitialize(count: 1) }

    @inline(__always)
    func lock() { os_unfair_lock_lock(storage) }

    @inline(__always)
    func unlock() { os_unfair_lock_unlock(storage) }
    #else
    func initialize() {
        storage.initialize(to: pthread_mutex_t())
        let failure = pthread_mutex_init(storage, nil)
        precondition(failure == 0, "pthread_mutex_init: \(failure)")
    }

    func destroy() { pthread_mutex_destroy(storage) }

    @inline(__always)
    func lock() { pthread_mutex_lock(storage) }

    @inline(__always)
    func unlock() { pthread_mutex_unlock(storage) }
    #endif
}
