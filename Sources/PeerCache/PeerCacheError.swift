/// The one error type of the library. A miss is `nil`, never an error. A loader that ran in this process throws its own error, and a cancelled
/// task `CancellationError`.
public struct PeerCacheError: Error, Sendable, CustomStringConvertible {
    /// What went wrong. New codes may be added; compare with `==`.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private enum Kind: String {
            case invalidConfiguration, notRunning, alreadyRunning, addressUnavailable, keyTooLong, valueTooLarge, incompatibleCache
            case loadFailed, loadTimedOut, encodingFailed, overloaded, indeterminate, quorumUnavailable, peerUnreachable
            case duplicateIdentity, shuttingDown
        }
        private let kind: Kind

        /// A setting is impossible. The message names it, its value and what is allowed.
        public static let invalidConfiguration = Code(kind: .invalidConfiguration)
        /// `run()` was not called, or the peer has not started within the request timeout. Nothing happened.
        public static let notRunning = Code(kind: .notRunning)
        /// `run()` was called a second time.
        public static let alreadyRunning = Code(kind: .alreadyRunning)
        /// The address to listen at is taken or not this machine's.
        public static let addressUnavailable = Code(kind: .addressUnavailable)
        /// A key has more than 1,024 bytes. Nothing happened.
        public static let keyTooLong = Code(kind: .keyTooLong)
        /// A value is above the limit. Nothing happened.
        public static let valueTooLarge = Code(kind: .valueTooLarge)
        /// Another cache of the same name, here or on the key's owner, has another key type, value type or codec. Nothing happened.
        public static let incompatibleCache = Code(kind: .incompatibleCache)
        /// The loader threw on another peer. It is not run a second time because of that.
        public static let loadFailed = Code(kind: .loadFailed)
        /// The loader did not end within `loadTimeout`.
        public static let loadTimedOut = Code(kind: .loadTimedOut)
        /// The codec could not encode a value. Nothing was stored.
        public static let encodingFailed = Code(kind: .encodingFailed)
        /// A queue was full and nothing was changed. Retry after a pause.
        public static let overloaded = Code(kind: .overloaded)
        /// A write may take effect now, later or never: its answer did not arrive, or too few voters of a strict cache kept it.
        public static let indeterminate = Code(kind: .indeterminate)
        /// A strict cache: too few of the key's voters can be reached. Nothing happened.
        public static let quorumUnavailable = Code(kind: .quorumUnavailable)
        /// The key's owner could not be reached, and nothing was sent.
        public static let peerUnreachable = Code(kind: .peerUnreachable)
        /// Other processes had each of the ids that the peer drew, again and again: something copies it. From `run()`.
        public static let duplicateIdentity = Code(kind: .duplicateIdentity)
        /// The peer is stopping or has stopped.
        public static let shuttingDown = Code(kind: .shuttingDown)

        /// The code's name.
        public var description: String { kind.rawValue }
    }

    /// What went wrong.
    public var code: Code
    /// For people: which setting, key or peer, and what to do.
    public var message: String
    /// The error behind this one, when there is one.
    public var underlying: (any Error)?
    /// Where it was made.
    public var file: String
    /// Where it was made.
    public var line: Int

    init(
        _ code: Code, _ message: String, underlying: (any Error)? = nil, file: String = #fileID, line: Int = #line
    ) {
        self.code = code
        self.message = message
        self.underlying = underlying
        self.file = file
        self.line = line
    }

    /// Code, message and underlying error.
    public var description: String {
        "PeerCacheError.\(code): \(message)" + (underlying.map { " (\($0))" } ?? "")
    }
}
