package rpc

import (
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// readExpiry answers the time of an Update: nil when it changes nothing, the zero time for never.
func readExpiry(req *holdfastv1.UpdateRequest) (*time.Time, error) {
	at := req.GetExpireTime()
	switch {
	case at == nil && !req.GetClearExpireTime():
		return nil, nil
	case at == nil:
		return new(time.Time), nil
	case req.GetClearExpireTime():
		return nil, hub.Invalid(hub.InvalidExpireTime, "clear_expire_time", "true", "false, or no expire_time")
	}
	t := at.AsTime()
	if !at.IsValid() || t.IsZero() { // year 1, which the core would read as never
		return nil, hub.Invalid(hub.InvalidExpireTime, "expire_time", t.Format(time.RFC3339Nano), "a time in the future")
	}
	return &t, nil
}
