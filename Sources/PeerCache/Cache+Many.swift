public import NIOCore
internal import PeerCacheCore

extension Cache {
    /// The values of those keys that have one; equal keys count once. One request per owner and 1,024 keys.
    ///
    /// Values of type `ByteBuffer` may share the memory of one answer, some 200 KiB at most: copy one that is to be kept for long.
    ///
    /// - Throws: as ``get(_:)``; the first error, after all have ended.
    @inlinable
    public func getMany(_ keys: some Sequence<Key>) async throws -> [Key: Value] {
        // Inlinable, as what is generic here costs some hundred nanoseconds for each key unless it is specialised in the caller's module.
        var missing = Set(keys)
        var values: [Key: Value] = [:]
        values.reserveCapacity(missing.count)
        if near.isOn {
            for key in missing { if let value = nearValue(key) { values[key] = value } }
            if !values.isEmpty { missing = missing.filter { values[$0] == nil } }
        }
        if missing.isEmpty { return values }
        var list = KeyList(count: missing.count)
        for (index, key) in missing.enumerated() { key.withKeyBytes { list.set($0, at: index) } }
        let answers = try await findMany(list)
        var open: [Key] = []
        for (key, answer) in zip(missing, answers) {
            switch answer {
            case .bytes(let bytes): if let value = try? codec.decode(bytes) { values[key] = value } else { open.append(key) }
            case .other(let found): if let value = value(of: found) { values[key] = value } else { open.append(key) }
            case .absent: break
            case .open: open.append(key)
            }
        }
        for (key, value) in try await findSingly(open) { values[key] = value }
        return values
    }

    @usableFromInline
    func findMany(_ keys: KeyList) async throws -> [ManyAnswer] {
        try await prepare()
        return try await core.findMany(keys)
    }

    /// Decodes what was found and keeps a near copy.
    @usableFromInline
    func value(of found: ManyFound) -> Value? { value(of: found.found, found.key, found.hash, token: found.token) }

    /// Loads and single requests that one `getMany` has under way at a time.
    private static var singlesMax: Int { 8 }

    @usableFromInline
    func findSingly(_ keys: [Key]) async throws -> [(Key, Value)] {
        if keys.isEmpty { return [] }
        return try await withThrowingTaskGroup(of: (Key, Value)?.self) { group in
            var values: [(Key, Value)] = []
            for (index, key) in keys.enumerated() {
                if index >= Self.singlesMax, let found = try await group.next() ?? nil { values.append(found) }
                group.addTask { try await get(key).map { (key, $0) } }
            }
            for try await found in group { if let found { values.append(found) } }
            return values
        }
    }
}

/// Bytes of keys, one after another.
@usableFromInline
struct KeyList: Sendable {
    var bytes: [UInt8] = []
    /// Where each key ends.
    private(set) var ends: [Int] = []

    @usableFromInline
    init(count: Int) {
        bytes.reserveCapacity(count * 32)
        ends.reserveCapacity(count)
    }

    var count: Int { ends.count }

    subscript(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

    /// Appends a key, or replaces the last one: a key type of the user may hand out its bytes twice.
    @usableFromInline
    mutating func set(_ key: UnsafeRawBufferPointer, at index: Int) {
        if index < ends.count {
            ends.removeLast()
            bytes.removeLast(bytes.count - (ends.last ?? 0))
        }
        bytes.append(contentsOf: key)
        ends.append(bytes.count)
    }
}

/// What is known of one key of many.
@usableFromInline
enum ManyAnswer: Sendable {
    /// A value of which no near copy is kept.
    case bytes(ByteBuffer)
    case other(ManyFound)
    case absent
    /// To be asked for alone.
    case open
}

/// A value of which a near copy may be kept.
@usableFromInline
final class ManyFound: Sendable {
    let found: Found
    let key: [UInt8]
    let hash: UInt64
    /// Of the near store, from before the search.
    let token: NearStore.Token?

    init(_ found: Found, _ key: [UInt8], _ hash: UInt64, _ token: NearStore.Token?) {
        (self.found, self.key, self.hash, self.token) = (found, key, hash, token)
    }
}
