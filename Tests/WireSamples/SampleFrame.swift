package import PeerCacheCore

/// Builds and reads single frames.
package enum SampleFrame {
    /// A whole frame: length, clock, then the messages in this order.
    package static func bytes(of messages: [OwnedMessage], hlc: UInt64 = 0) -> [UInt8] {
        var frame = [UInt8](repeating: 0, count: WireEncoder.headerBytes)
        for message in messages {
            message.encode { count, write in
                let start = frame.count
                frame.append(contentsOf: repeatElement(0, count: count))
                frame.withUnsafeMutableBytes { bytes in
                    if let base = bytes.baseAddress { write(base + start) }
                }
            }
        }
        frame.withUnsafeMutableBytes { bytes in
            if let base = bytes.baseAddress { WireEncoder.writeHeader(into: base, frameBytes: bytes.count, hlc: hlc) }
        }
        return frame
    }

    /// As ``bytes(of:hlc:)`` without the length.
    package static func payload(of messages: [OwnedMessage], hlc: UInt64 = 0) -> [UInt8] { Array(bytes(of: messages, hlc: hlc)[4...]) }

    /// A payload behind its length.
    package static func framed(_ payload: some Collection<UInt8>) -> [UInt8] {
        let count = UInt32(truncatingIfNeeded: payload.count)
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) } + payload
    }

    /// All messages of a payload in the order of delivery, or why it is refused.
    package static func decode(_ payload: [UInt8], with decoder: WireDecoder = WireDecoder()) -> Result<[OwnedMessage], WireError> {
        var messages: [OwnedMessage] = []
        return payload.withUnsafeBytes { bytes in
            do throws(WireError) {
                try decoder.decode(bytes) { messages.append(OwnedMessage($0)) }
                return .success(messages)
            } catch { return .failure(error) }
        }
    }
}

extension [OwnedMessage] {
    /// The order in which a decoder delivers them: by kind, else as sent.
    package var inDeliveryOrder: [OwnedMessage] {
        enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }.map(\.element)
    }
}
