import PeerCacheCore

/// Anti-entropy between voters. Here they need not differ, and what they send each other arrives however late.
extension SimulatedQuorum {
    /// One of two voters fetches a bucket from the other, as after a second look at digests that differ.
    mutating func repair() {
        guard let key = keys.indices.randomElement(using: &random) else { return }
        let bucket = keys[key].id.bucket
        let voting = peers.indices.filter { peers[$0].isAlive && peers[$0].machine.voting.contains(keys[key].id.slot) }
        guard let one = voting.randomElement(using: &random), let other = voting.filter({ $0 != one }).randomElement(using: &random) else {
            return
        }
        let pull = PullRequest(slots: [keys[key].id.slot], bucket: bucket.index % BucketIndex.perSlot, isBucketOnly: true)
        send(one, other, .compare(pull))
    }

    mutating func compared(_ index: Int, with other: Int, _ pull: PullRequest, _ page: [UInt8]?) {
        guard let page, let slot = pull.slots.first else { return }
        let (store, context) = (peers[index].store, context(index))
        let bucket = BucketIndex.all(of: slot).first { $0.index % BucketIndex.perSlot == pull.bucket }
        var shipped: [(key: Int, stamp: Stamp)] = []
        let result = page.withUnsafeBytes { page in
            bucket.flatMap { bucket in
                try? store.repair(bucket, with: page, context) { id, _, info, _ in
                    if let key = keys.firstIndex(where: { $0.id.hash >> 32 == id.hash >> 32 }) { shipped.append((key, info.stamp)) }
                }
            }
        }
        guard result != nil else { return problem = "a page that cannot be read" }
        figures.repairs += 1
        for key in keys.indices { check(index, key) }
        for (key, stamp) in shipped { if let content = contents[stamp] { send(index, other, .ship(key: key, stamp, content)) } }
    }

    mutating func shipped(_ index: Int, _ key: Int, _ stamp: Stamp, _ content: Content) {
        figures.shipped += 1
        _ = store(index, key, stamp, content, isRefused: false)
        check(index, key)
    }
}
