package app

import (
	"time"

	"github.com/holdfast-broker/holdfast/internal/admission"
)

// Admission says who may connect.
type Admission struct {
	Mode string `yaml:"mode"` // one of admissionModes
	// Backend is for the mode of that name.
	Backend AdmissionBackend `yaml:"backend"`
	// JWT is for the mode of that name; nil in others.
	JWT *ClientJWT `yaml:"jwt,omitempty"`
}

// AdmissionBackend has backends decide, by a request on NATS for each handshake.
type AdmissionBackend struct {
	Timeout Duration `yaml:"timeout"` // for the answer
}

const (
	admissionNone    = "none"
	admissionJWT     = "jwt"
	admissionBackend = "backend"
)

var admissionModes = []string{admissionNone, admissionJWT, admissionBackend}

func defaultAdmission() Admission {
	return Admission{Mode: admissionNone, Backend: AdmissionBackend{Timeout: Second}}
}

func (v *checker) admission(key string, a Admission) {
	v.oneOf(key+".mode", a.Mode, admissionModes...)
	v.admissionJWT(key+".jwt", a)
	timeout := a.Backend.Timeout
	switch key += ".backend.timeout"; {
	case a.Mode != admissionBackend && a.Backend != defaultAdmission().Backend:
		v.refuse(key, "%s is for mode backend, and the mode is %s", timeout, a.Mode)
	case a.Mode == admissionBackend && timeout > v.Clients.HandshakeTimeout:
		v.refuse(key, "%s is longer than a handshake may take: want at most clients.handshake_timeout, %s", timeout, v.Clients.HandshakeTimeout)
	default:
		within(v, key, timeout, 10*Millisecond, Minute)
	}
}

// admitter decides who may connect to an endpoint; nil: everybody.
func (b *broker) admitter(a Admission) (admission.Admitter, error) {
	switch a.Mode {
	case admissionBackend:
		return &admission.Backend{Bus: b.bus, Timeout: time.Duration(a.Backend.Timeout)}, nil
	case admissionJWT:
		return b.tokenAdmitter(a.JWT)
	}
	return nil, nil
}
