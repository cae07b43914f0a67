import Foundation
import Synchronization

/// Standard output: messages above, on a terminal with a table below that is redrawn in place.
final class Screen: Sendable {
    private let isTerminal: Bool
    private let isSilent: Bool
    private let table = Mutex<[String]>([])
    private let linesSinceHeader = Mutex(Screen.linesPerHeader)
    private static let linesPerHeader = 30

    /// - Parameter isSilent: Print objects only.
    init(isSilent: Bool) {
        self.isSilent = isSilent
        isTerminal = isatty(STDOUT_FILENO) == 1
    }

    /// A message that stays.
    func say(_ message: String) {
        guard !isSilent else { return }
        table.withLock { table in
            guard isTerminal else { return write(message + "\n") }
            write(erasing(table) + message + "\n" + joined(table))
        }
    }

    /// Replaces the table on a terminal; prints its lines otherwise, the header now and then.
    func show(header: String, _ lines: [String]) {
        guard !isSilent else { return }
        table.withLock { table in
            guard isTerminal else {
                let isDue = linesSinceHeader.withLock { count in
                    let isDue = count >= Self.linesPerHeader
                    count = isDue ? lines.count : count + lines.count
                    return isDue
                }
                return write(joined(isDue ? [header] + lines : lines))
            }
            let width = width()
            let old = table
            table = ([header] + lines).map { String($0.prefix(width)) }  // a line that wraps would break the redrawing
            write(erasing(old) + joined(table))
        }
    }

    /// Leaves the table where it is; the next message goes below it.
    func keepTable() {
        table.withLock { $0 = [] }
    }

    /// One JSON object on a line of its own; printed in silence, too.
    func print(object: some Encodable) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(object) else { return }
        write(String(decoding: data, as: UTF8.self) + "\n")
    }

    private func erasing(_ lines: [String]) -> String {
        lines.isEmpty ? "" : "\u{1B}[\(lines.count)A\u{1B}[J"
    }

    private func joined(_ lines: [String]) -> String {
        lines.map { $0 + "\n" }.joined()
    }

    private func width() -> Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 120 }
        return Int(size.ws_col)
    }

    private func write(_ text: String) {
        // A reader that went away must not stop the run: the processes still have to be ended.
        try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    }
}
