import Foundation

/// Ends this process when the one that started it is gone.
enum ParentWatch {
    /// Reads standard input until it ends: the kernel closes the pipe's other end with the parent, however the parent died.
    /// Then asks for a graceful stop, and ends the process when that takes longer than five seconds.
    static func start() {
        let thread = Thread {
            var byte: UInt8 = 0
            while true {
                let count = read(STDIN_FILENO, &byte, 1)
                if count == 0 || (count < 0 && errno != EINTR) { break }
            }
            kill(getpid(), SIGTERM)
            sleep(5)
            _exit(1)
        }
        thread.stackSize = 128 * 1024
        thread.start()
    }
}
