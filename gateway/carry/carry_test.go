package carry

import (
	"testing"
)

func TestPasses(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{}, nil)
		w.gate.to(newTarget(t, echo))
		exchange(t, w.dial(), make([]byte, 3<<20))
		if v := w.endsWith(ReasonClosed); v.out.Sent != 3<<20 || v.out.Received != 3<<20 || len(v.became) != 1 {
			t.Errorf("%+v", v.out)
		}
	})
}
