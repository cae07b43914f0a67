internal import Synchronization

/// Where a read was answered.
public enum ReadSource: String, Sendable, Hashable, Codable {
    /// A near copy in this process: decoded already.
    case near
    /// This peer's own store.
    case own
    /// The owner, over the network.
    case peer
    /// Another holder, because the owner did not answer.
    case fallback
    /// The loader.
    case loaded
    /// Nothing held a value, and the loader, if any, had none.
    case absent
}

/// Remembers where the last reads of some keys were answered, for `explain`: a fixed table, one word a key, newest wins.
struct ReadTrail: Sendable {
    private final class Words: Sendable {
        static let count = 1024
        // Safe: the pointer never changes, the memory lives as long as this object, and all access to it is atomic.
        nonisolated(unsafe) let base: UnsafeMutablePointer<Atomic<UInt64>>

        init() {
            base = .allocate(capacity: Self.count)
            for index in 0..<Self.count { (base + index).initialize(to: Atomic(0)) }
        }

        deinit {
            base.deinitialize(count: Self.count)
            base.deallocate()
        }
    }
    private let words = Words()

    /// One store.
    func note(_ hash: UInt64, _ source: ReadSource) {
        words.base[Int(hash & UInt64(Words.count - 1))].store(hash & ~7 | source.code, ordering: .relaxed)
    }

    /// Nil: not read lately, or displaced by another key.
    func last(_ hash: UInt64) -> ReadSource? {
        let word = words.base[Int(hash & UInt64(Words.count - 1))].load(ordering: .relaxed)
        guard word != 0, word & ~7 == hash & ~7 else { return nil }
        return ReadSource.allCases.first { $0.code == word & 7 }
    }
}

extension ReadSource {
    fileprivate static let allCases: [ReadSource] = [.near, .own, .peer, .fallback, .loaded, .absent]

    /// Three bits.
    fileprivate var code: UInt64 {
        switch self {
        case .near: 0
        case .own: 1
        case .peer: 2
        case .fallback: 3
        case .loaded: 4
        case .absent: 5
        }
    }
}
