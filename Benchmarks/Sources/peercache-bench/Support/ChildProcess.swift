import ArgumentParser
import Foundation

/// A process whose life hangs on a pipe: it ends when its standard input closes, so it ends with this process, however that one ends.
final class ChildProcess {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()

    /// - Parameter path: absolute, or a name to look for in `PATH`.
    init(_ path: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        process.executableURL = URL(fileURLWithPath: path.contains("/") ? path : "/usr/bin/env")
        process.arguments = path.contains("/") ? arguments : [path] + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = input
        process.standardOutput = output
        try process.run()
    }

    var isRunning: Bool { process.isRunning }
    var processIdentifier: Int32 { process.processIdentifier }

    /// The first line that the process prints. Blocks.
    func readLine() throws -> String {
        var line = Data()
        while let byte = try output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty {
            if byte[byte.startIndex] == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
        throw ValidationError("a child process ended before it was ready")
    }

    /// The next line that the process prints, as JSON. Blocks.
    func answer<Answer: Decodable>(_ type: Answer.Type) throws -> Answer {
        try JSONDecoder().decode(type, from: Data(readLine().utf8))
    }

    /// Hands every further line to `body`, on a thread of its own, until the process closes its output.
    func forEachLine(_ body: @escaping @Sendable (String) -> Void) {
        let handle = output.fileHandleForReading
        Thread.detachNewThread {
            var rest = Data()
            while case let data = handle.availableData, !data.isEmpty {
                rest.append(data)
                while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                    body(String(decoding: rest[..<end], as: UTF8.self))
                    rest = Data(rest[(end + 1)...])
                }
            }
        }
    }

    /// SIGKILL, and waits.
    func waitForExit() { process.waitUntilExit() }

    func kill() {
        guard process.isRunning else { return }
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// Gives the process a line to read.
    func send(_ line: String) throws { try input.fileHandleForWriting.write(contentsOf: Data((line + "\n").utf8)) }

    /// Closes its standard input and waits.
    func stop() {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// Runs a program to its end and returns what it printed; nil when it is missing or fails. Blocks.
    static func output(of program: String, _ arguments: [String]) -> String? {
        let process = Process(), output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return nil }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return process.terminationStatus == 0 ? text : nil
    }
}

extension ChildProcess {
    /// This executable once more.
    static func another(_ arguments: [String], environment: [String: String] = [:]) throws -> ChildProcess {
        try ChildProcess(Bundle.main.executablePath ?? CommandLine.arguments[0], arguments, environment: environment)
    }

    /// Ends this process when its standard input closes: the other side of ``ChildProcess``.
    static func endWithStandardInput() {
        Thread.detachNewThread {
            while let data = try? FileHandle.standardInput.read(upToCount: 4096), !data.isEmpty {}
            exit(0)
        }
    }

    /// What the parent sends. This process ends when there is no more: the other side of ``ChildProcess``.
    static func linesOfStandardInput() -> AsyncStream<String> {
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        Thread.detachNewThread {
            while let line = Swift.readLine() { continuation.yield(line) }
            exit(0)
        }
        return lines
    }

    /// Replaces this process by itself under `taskset`, so that all its threads and children run on these cores only.
    static func pin(to cores: String) throws {
        let mark = "PEERCACHE_BENCH_PINNED"
        if ProcessInfo.processInfo.environment[mark] == cores { return }
        setenv(mark, cores, 1)
        let arguments =
            ["taskset", "-c", cores, Bundle.main.executablePath ?? CommandLine.arguments[0]] + CommandLine.arguments.dropFirst()
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        execvp("taskset", &pointers)
        throw ValidationError("--pin needs the program taskset: \(String(cString: strerror(errno)))")
    }
}
