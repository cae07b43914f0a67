import PeerCacheCore

/// Protocol buffers by hand, for what our encoder does not write.
enum RawProto {
    static func tag(_ field: Int, _ type: UInt64) -> [UInt8] { varint(UInt64(field) << 3 | type) }
    static func varint(_ field: Int, _ value: UInt64) -> [UInt8] { tag(field, 0) + varint(value) }
    static func bytes(_ field: Int, _ content: [UInt8]) -> [UInt8] { tag(field, 2) + varint(UInt64(content.count)) + content }

    static func varint(_ value: UInt64) -> [UInt8] {
        var value = value
        var bytes: [UInt8] = []
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        return bytes + [UInt8(truncatingIfNeeded: value)]
    }

    /// The fields of a member that is accepted; later fields of the same number override them.
    static func member() -> [UInt8] {
        tag(1, 1) + [1, 0, 0, 0, 0, 0, 0, 0] + varint(3, 1) + bytes(5, [104]) + varint(6, 80) + varint(12, 1) + varint(13, 1)
    }

    static func frame(gossip member: [UInt8]) -> [UInt8] { bytes(5, varint(1, 2) + bytes(4, member)) }
}
