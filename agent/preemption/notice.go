package preemption

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Cloud is whose metadata service is watched.
type Cloud string

// The clouds.
const (
	AWS   Cloud = "aws"
	GCP   Cloud = "gcp"
	Azure Cloud = "azure"
)

// Clouds returns all clouds.
func Clouds() []Cloud { return []Cloud{AWS, GCP, Azure} }

// ParseCloud reads the name of a cloud.
func ParseCloud(name string) (Cloud, error) {
	var names []string
	for _, c := range Clouds() {
		if string(c) == name {
			return c, nil
		}
		names = append(names, string(c))
	}
	return "", fmt.Errorf("cloud %.20q: not one of %s", name, strings.Join(names, ", "))
}

// Notice says that this machine is about to be taken away.
type Notice struct {
	Cloud  Cloud
	Reason string // in our own words, such as "spot: terminate"
	// Deadline is when that may happen at the earliest, by this machine's clock:
	// it may be past. Zero: the cloud names no time.
	Deadline time.Time
	// Shared is true for a notice that names other machines too.
	Shared bool

	event string // Azure's id, to acknowledge
}

// Left returns how long until the deadline, not below zero; known is false
// where there is none.
func (n Notice) Left() (left time.Duration, known bool) {
	if n.Deadline.IsZero() {
		return 0, false
	}
	return max(0, time.Until(n.Deadline)), true
}

// Options say what is watched.
type Options struct {
	Cloud Cloud
	// Endpoint is the root of the metadata service, a plain http URL whose host is
	// a link-local, unique local or loopback address; "" is
	// http://169.254.169.254, which all three clouds have. Machines of AWS with
	// IPv6 alone reach it at http://[fd00:ec2::254].
	Endpoint string
	Log      *slog.Logger // nil: no log
}

// ErrAbsent is in the chain of Watch's error when no metadata service of the
// cloud has answered for several minutes from the beginning.
var ErrAbsent = errors.New("no metadata service of that cloud answers here")
