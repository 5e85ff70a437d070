package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"deploykeyd/agent/config"
	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// repositorySocket is the socket of one repository alone.
type repositorySocket struct {
	forge      string
	repository provision.Repository
	listener   *unixsock.Listener
}

// listenRepositories opens a socket for each repository of the forges that are
// configured so, and removes those of repositories that are not any more.
func (d *daemon) listenRepositories(o *options, cfg config.Config) error {
	mine := map[string]bool{}
	for _, f := range cfg.Forges {
		for _, r := range f.Repositories {
			path := o.socketOf(f, r.Repository)
			if path == "" {
				continue
			}
			l, err := d.handover.listen(o.nameOf(path), path)
			if err != nil {
				return err
			}
			mine[filepath.Base(path)] = true
			d.repositorySockets = append(d.repositorySockets, repositorySocket{f.Name, r.Repository, l})
		}
	}
	return removeSockets(o.socketsDir(), mine)
}

// removeSockets removes the sockets in dir that are not among those to keep: an
// earlier daemon had another configuration. It follows no symbolic link.
func removeSockets(dir string, keep map[string]bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if e.Type() == fs.ModeSocket && strings.HasSuffix(e.Name(), ".sock") && !keep[e.Name()] {
			err = errors.Join(err, root.Remove(e.Name()))
		}
	}
	return err
}

// socketOf returns the path of a repository's own socket, or "" without one.
func (o *options) socketOf(f config.Forge, repo provision.Repository) string {
	if !f.Sockets {
		return ""
	}
	return sshagent.SocketPath(o.socketsDir(), f.Name, repo)
}
