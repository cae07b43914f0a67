import Foundation

/// Standard output, unbuffered: whoever started this process waits for the line.
enum StandardOutput {
    static func print(_ line: String) {
        // A closed pipe is no reason to fail: the line is a message, not the service.
        try? FileHandle.standardOutput.write(contentsOf: Data((line + "\n").utf8))
    }
}
