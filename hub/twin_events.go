package hub

import "github.com/isthmus-io/isthmus/store/hubstore"

// identityCreated tells routes that a device was made.
func (h *Hub) identityCreated(hubstore.Device) {}

// identityDeleted tells routes that a device is gone.
func (h *Hub) identityDeleted(hubstore.Device) {}

// connected tells routes that a session began.
func (h *Hub) connected(*Session) {}

// disconnected tells routes that a session ended.
func (h *Hub) disconnected(*Session) {}
