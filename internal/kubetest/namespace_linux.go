package kubetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace, held by a mount at path.
type namespace struct {
	name, path string
	handle     netns.NsHandle
}

// newNamespace makes a namespace and leaves the calling thread where it was.
func newNamespace(dir, name string) (*namespace, error) {
	n := &namespace{name: name, path: filepath.Join(dir, name)}
	if err := os.WriteFile(n.path, nil, 0o600); err != nil {
		return nil, err
	}
	err := onThread(func() error {
		created, err := netns.New()
		if err != nil {
			return err
		}
		n.handle = created
		self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		if err := unix.Mount(self, n.path, "none", unix.MS_BIND, ""); err != nil {
			return err
		}
		return up("lo")
	})
	if err != nil {
		return nil, fmt.Errorf("kubetest: namespace %s: %w", name, err)
	}
	return n, nil
}

// do runs f on a thread inside the namespace; that of this process when n is nil.
// What f starts (a process, a socket) stays inside.
func (n *namespace) do(f func() error) error {
	if n == nil {
		return f()
	}
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return err
		}
		return f()
	})
}

// onThread runs f on a thread of its own and takes the thread back to the
// namespace it came from; a thread that cannot go back is given up.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = home.Close() }()
		err = f()
		if back := netns.Set(home); back != nil {
			done <- errors.Join(err, back)
			return
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

func (n *namespace) sysctl(values map[string]string) error {
	return n.do(func() error {
		for name, value := range values {
			err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (n *namespace) close() error { return n.handle.Close() }
