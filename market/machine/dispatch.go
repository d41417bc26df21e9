package machine

import (
	"fmt"

	"github.com/moorage-dev/moorage/market"
)

func (m *Machine) dispatch(_ Moment, msg market.Msg) error {
	return fmt.Errorf("machine: %T: not yet", msg)
}

func (m *Machine) fire(_ Moment, t Timer) error {
	return fmt.Errorf("machine: timer %d: not yet", t.Kind)
}
