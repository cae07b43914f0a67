/// A dictionary whose order is that of its keys: nothing the machine does may depend on hashing.
///
/// Two arrays, so that all values are at hand without a copy. Lookup O(log n), insertion and removal O(n).
struct SortedMap<Key: Comparable & Sendable, Value: Sendable>: Sendable {
    private(set) var keys: [Key] = []
    private(set) var values: [Value] = []

    var count: Int { keys.count }
    var isEmpty: Bool { keys.isEmpty }

    subscript(_ key: Key) -> Value? {
        get {
            let index = position(of: key)
            return index < keys.count && keys[index] == key ? values[index] : nil
        }
        set {
            let index = position(of: key)
            let isHeld = index < keys.count && keys[index] == key
            switch (isHeld, newValue) {
            case (true, let value?): values[index] = value
            case (false, let value?):
                keys.insert(key, at: index)
                values.insert(value, at: index)
            case (true, nil):
                keys.remove(at: index)
                values.remove(at: index)
            case (false, nil): break
            }
        }
    }

    /// Changes a held value in place, without a copy. Nil: the key is not held.
    @discardableResult mutating func change<Result>(_ key: Key, _ body: (inout Value) -> Result) -> Result? {
        let index = position(of: key)
        guard index < keys.count, keys[index] == key else { return nil }
        return body(&values[index])
    }

    func contains(_ key: Key) -> Bool {
        let index = position(of: key)
        return index < keys.count && keys[index] == key
    }

    /// Changes every value in place, in key order.
    mutating func updateAll(_ change: (Key, inout Value) -> Void) {
        for index in keys.indices { change(keys[index], &values[index]) }
    }

    mutating func removeAll(where isGone: (Key, Value) -> Bool) {
        let kept = keys.indices.filter { !isGone(keys[$0], values[$0]) }
        guard kept.count < keys.count else { return }
        keys = kept.map { keys[$0] }
        values = kept.map { values[$0] }
    }

    /// The first index whose key is not below `key`.
    func position(of key: Key) -> Int {
        var low = 0, high = keys.count
        while low < high {
            let middle = low + (high - low) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
