internal import CPeerWire
internal import CProtobufC

/// A member's strings as bytes at stable addresses, and the C struct that points at them. Lives as long as the struct is used.
final class MemberBytes {
    private let block: UnsafeMutableRawBufferPointer
    private(set) var message = Peercache__Member()

    convenience init(_ member: Member) { self.init(MemberClaim(member, withRecord: true)) }

    /// Without a record: no strings and no numbers of one.
    init(_ claim: MemberClaim) {
        var record = claim.record ?? MemberRecord(id: claim.id, address: PeerAddress(host: "", port: 0))
        if claim.record == nil { (record.weight, record.versionLow, record.versionHigh) = (0, 0, 0) }
        let fields = [
            Array(record.address.host.utf8), Array(record.name.utf8), Array(record.zone.utf8), Array(record.region.utf8), record.metadata,
        ]
        block = .allocate(byteCount: max(1, fields.reduce(0) { $0 + $1.count }), alignment: 1)
        peercache__member__init(&message)
        var offset = 0
        let placed = fields.map { field in
            let part = UnsafeMutableRawBufferPointer(rebasing: block[offset..<offset + field.count])
            part.copyBytes(from: field)
            offset += field.count
            return ProtobufCBinaryData(UnsafeRawBufferPointer(part))
        }
        message.host = placed[0]
        message.name = placed[1]
        message.zone = placed[2]
        message.region = placed[3]
        message.metadata = placed[4]
        message.id_high = record.id.high
        message.id_low = record.id.low
        message.incarnation = claim.incarnation
        message.status = UInt32(claim.status.rawValue)
        message.port = UInt32(record.address.port)
        message.weight = UInt32(record.weight)
        message.version_low = UInt32(record.versionLow)
        message.version_high = UInt32(record.versionHigh)
        message.hlc = claim.content
        message.started = record.started
        message.cause = claim.cause.map { UInt32($0.rawValue) + 1 } ?? 0
        message.since = claim.since
        message.accuser = claim.accuser
    }

    deinit { block.deallocate() }
}

extension Member {
    /// Checks ranges, lengths and UTF-8, which protobuf-c does not.
    init(_ message: Peercache__Member) throws(WireError) {
        guard let status = UInt8(exactly: message.status).flatMap(MemberStatus.init(rawValue:)),
            let port = UInt16(exactly: message.port), let weight = UInt16(exactly: message.weight), weight <= 1000,
            let versionLow = UInt16(exactly: message.version_low), let versionHigh = UInt16(exactly: message.version_high),
            versionLow <= versionHigh, message.incarnation > 0,
            let host = Self.text(message.host, bytesMax: 255), !host.isEmpty,
            let name = Self.text(message.name, bytesMax: 64), let zone = Self.text(message.zone, bytesMax: 64),
            let region = Self.text(message.region, bytesMax: 64), message.metadata.len <= 512
        else { throw .badMember }
        let id = PeerID(high: message.id_high, low: message.id_low)
        guard id != .none else { throw .badMember }
        var record = MemberRecord(id: id, address: PeerAddress(host: host, port: port))
        record.incarnation = message.incarnation
        record.name = name
        record.zone = zone
        record.region = region
        record.weight = weight
        record.metadata = Array(UnsafeRawBufferPointer(message.metadata))
        record.versionLow = versionLow
        record.versionHigh = versionHigh
        record.hlc = message.hlc
        record.started = message.started
        // A cause of a later version is still a death.
        let cause = status == .dead ? message.cause.checkedDecrement.flatMap(DeathCause.init(rawValue:)) ?? .silent : nil
        self.init(record, status: status, cause: cause, since: message.since)
    }

    private static func text(_ data: ProtobufCBinaryData, bytesMax: Int) -> String? {
        guard data.len <= bytesMax else { return nil }
        return String(validating: UnsafeRawBufferPointer(data), as: UTF8.self)
    }
}

extension MemberClaim {
    /// A host is what tells a record from none.
    init(_ message: Peercache__Member) throws(WireError) {
        if message.host.len > 0 {
            self.init(try Member(message), accuser: message.accuser, withRecord: true)
            return
        }
        let id = PeerID(high: message.id_high, low: message.id_low)
        guard id != .none, message.incarnation > 0, let status = UInt8(exactly: message.status).flatMap(MemberStatus.init(rawValue:)) else {
            throw .badMember
        }
        var record = MemberRecord(id: id, address: PeerAddress(host: "", port: 0))
        (record.incarnation, record.hlc) = (message.incarnation, message.hlc)
        let cause = status == .dead ? message.cause.checkedDecrement.flatMap(DeathCause.init(rawValue:)) ?? .silent : nil
        self.init(Member(record, status: status, cause: cause, since: message.since), accuser: message.accuser, withRecord: false)
    }
}

extension UInt32 {
    /// One less as a byte; nil for 0 and for what does not fit.
    fileprivate var checkedDecrement: UInt8? { self == 0 ? nil : UInt8(exactly: self - 1) }
}

extension UnsafeRawBufferPointer {
    init(_ data: ProtobufCBinaryData) { self.init(start: data.len == 0 ? nil : data.data, count: data.data == nil ? 0 : data.len) }
}
