/// The rule of `GOSSIP.md` §3 that a member record breaks.
package enum RecordProblem: UInt8, Hashable, Sendable {
    /// The id is zero, or the incarnation is.
    case identity
    /// No port, or a host that is empty or longer than 255 bytes.
    case address
    /// `name`, `zone` or `region` above 64 bytes.
    case label
    /// Above 512 bytes.
    case metadata
    /// Above 1,000.
    case weight
    /// The lowest version is above the highest.
    case versions
    /// Above 1 KiB when encoded.
    case size
}

extension MemberRecord {
    package static let labelBytesMax = 64
    package static let metadataBytesMax = 512
    package static let weightMax: UInt16 = 1_000
    package static let encodedBytesMax = 1_024

    /// An upper bound of the encoded size: 64 bytes for all numbers, tags and lengths, and the strings.
    package var encodedBytesBound: Int {
        64 + address.host.utf8.count + name.utf8.count + zone.utf8.count + region.utf8.count + metadata.count
    }

    /// The first rule that the record breaks, or nil. Check before a record is set; the machine refuses others' records by the same rule.
    package var problem: RecordProblem? {
        if id == .none || incarnation == 0 { return .identity }
        if address.port == 0 || address.host.isEmpty || address.host.utf8.count > 255 { return .address }
        if max(name.utf8.count, zone.utf8.count, region.utf8.count) > Self.labelBytesMax { return .label }
        if metadata.count > Self.metadataBytesMax { return .metadata }
        if weight > Self.weightMax { return .weight }
        if versionLow > versionHigh { return .versions }
        return encodedBytesBound > Self.encodedBytesMax ? .size : nil
    }
}
