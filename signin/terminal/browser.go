package terminal

import (
	"os/exec"
	"runtime"
)

// Browser returns what opens a URL in the person's browser, nil when this terminal has none that the person could see: in a session over
// SSH, and without a screen.
func Browser(getenv func(string) string) func(url string) error {
	if getenv("SSH_CONNECTION") != "" || getenv("SSH_TTY") != "" {
		return nil
	}
	program, args := "xdg-open", []string(nil)
	switch runtime.GOOS {
	case "windows":
		program, args = "rundll32", []string{"url.dll,FileProtocolHandler"}
	case "darwin":
		program = "open"
	default:
		if getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
			return nil
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil
	}
	return func(url string) error {
		// The URL names a sign-in that only this process can finish; it is no secret. The browser outlives the command.
		c := exec.Command(path, append(args, url)...) //nolint:gosec,noctx // no shell, and whoever calls has checked that it is a URL of the web
		if err := c.Start(); err != nil {
			return err
		}
		return c.Process.Release()
	}
}
