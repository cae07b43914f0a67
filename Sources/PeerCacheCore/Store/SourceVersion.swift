internal import Synchronization

/// The version that a cache's data source gave a value or its removal: the first eight bytes of what is stored, big end first, in caches that
/// have versions. Of two contents the higher version is the newer one, whatever their stamps say; a replica of the source that lags behind
/// cannot put back what it still has, as long as the newer content is held.
package enum SourceVersion {
    package static let bytes = 8

    /// Nil: too short to have one.
    package static func read(_ content: UnsafeRawBufferPointer) -> UInt64? {
        content.count < bytes ? nil : UInt64(bigEndian: content.loadUnaligned(as: UInt64.self))
    }
}

extension ByteStore {
    /// From now on what is stored of this cache begins with a ``SourceVersion``: call it before the first write.
    package func setVersioned(_ cache: CacheIndex) {
        shared.caches.pointee.cell(cache.value)?.pointee.isVersioned.store(true, ordering: .relaxed)
    }

    /// As ``held(_:_:)``, with the version.
    package func heldWithVersion(_ id: KeyID, _ key: RawSpan) -> EntryInfo? {
        key.withUnsafeBytes { key in
            shard(of: id).pointee.lock.withLock { shard in
                let handle = shard.find(id, key)
                guard handle != 0, !shard.isCleared(shard.entries[handle]) else { return nil }
                return shard.infoWithVersion(shard.entries[handle])
            }
        }
    }

    /// The version of what another peer sent of a cache; 0: the cache has none.
    package func sourceVersion(_ content: UnsafeRawBufferPointer, _ cache: CacheIndex) -> UInt64 {
        shared.caches.pointee.isVersioned(cache.value) ? SourceVersion.read(content) ?? 0 : 0
    }

    /// Whether an entry of another holder would replace what is here. False when the slot is not held.
    package func wants(_ id: KeyID, _ key: RawSpan, stamp: Stamp, version: UInt64) -> Bool {
        guard isHeld(id.slot) else { return false }
        guard let held = heldWithVersion(id, key) else { return guardStamp(id, key) < stamp }
        return version != held.sourceVersion ? version > held.sourceVersion : stamp > held.stamp
    }
}

extension Shard {
    func infoWithVersion(_ entry: EntryRef) -> EntryInfo {
        var info = entry.info
        info.sourceVersion = sourceVersion(entry)
        return info
    }

    /// 0: the cache has none, or a removal came without.
    func sourceVersion(_ entry: EntryRef) -> UInt64 {
        guard shared.caches.pointee.isVersioned(entry.cache), entry.valueBytes >= SourceVersion.bytes else { return 0 }
        return withUnsafeTemporaryAllocation(byteCount: SourceVersion.bytes, alignment: 8) { buffer in
            guard let start = buffer.baseAddress else { return 0 }
            copyValue(entry, 0..<SourceVersion.bytes, to: start)
            return SourceVersion.read(UnsafeRawBufferPointer(buffer)) ?? 0
        }
    }

    /// What the versions say of a write with a stamp; nil: nothing, the stamps decide.
    ///
    /// When stamps and versions contradict each other, the floor rises above both stamps: whoever asks later must not take the older
    /// version for the newest because its stamp is.
    /// - Parameter isMinted: the stamp is new, so nobody else has the content.
    mutating func judge(_ request: WriteRequest, _ stamp: Stamp, _ found: UInt32, isMinted: Bool) -> VersionJudgement? {
        guard found != 0, shared.caches.pointee.isVersioned(request.id.cache.value), let new = SourceVersion.read(request.value)
        else { return nil }
        let (held, heldStamp) = (sourceVersion(entries[found]), entries[found].stamp)
        if new < held {
            if stamp > heldStamp, !isMinted { raiseFloor(request.id.bucket, to: stamp.successor, of: request.id.cache.value) }
            return .older
        }
        guard new > held, stamp <= heldStamp, stamp > shared.caches.pointee.floor(request.id.cache.value) else { return nil }
        raiseFloor(request.id.bucket, to: heldStamp.successor, of: request.id.cache.value)
        return .newer
    }
}

enum VersionJudgement { case older, newer }
