//go:build !race

package life_test

import (
	"fmt"
	"slices"
)

// olderSteps: the only server comes back without the last messages. What was under way to it is lost. When it has
// lost nothing but a claim, nobody can know.
func (x *explorer) olderSteps() {
	for kept := uint8(1); kept < x.from.n; kept++ {
		x.step(fmt.Sprintf("the log comes back with %d messages", kept), func(s *modelState) error {
			for i := kept; i < s.n; i++ {
				s.log[i] = modelEntry{}
			}
			s.n, s.canComeBack, s.cameBack, s.harmed = kept, false, true, true
			s.seq = s.lastSeq()
			last := s.log[kept-1]
			s.everClaimed = s.everClaimed && last.seq != s.owner.last && last.number != s.owner.number
			s.owner.attempts = [2]attemptState{}
			if x.mutation != countsAcrossAnOlderLog {
				for i := range s.survivors {
					s.survivors[i].saw, s.survivors[i].sawOld = 0, false
				}
			}
			return nil
		})
	}
}

// lastIsGone: the message that a frozen owner expects to be the last is not there, or a claim has its sequence.
func (x *explorer) lastIsGone(s *modelState) bool {
	if !s.owner.leaseOld || x.mutation == trustsTheSequence {
		return false
	}
	return !slices.ContainsFunc(s.log[:s.n], func(e modelEntry) bool { return e.seq == s.owner.last && e.number != 0 })
}

// writeAgain sends what the owner has to say, and all that is open, behind the older message.
func (x *explorer) writeAgain(s *modelState) {
	o := &s.owner
	for c := range modelConns {
		switch o.phase[c] {
		case opening:
			o.batch.opens |= 1 << c
			o.phase[c] = openSent
		case openRecorded, open:
			o.batch.opens |= 1 << c
		case closing:
			o.batch.closes |= 1 << c
			o.phase[c] = closeSent
		}
	}
	o.last, o.answer, o.repeated, o.purgeBelow = s.lastSeq(), noAnswer, false, 255
	o.attempts = [2]attemptState{{true, o.last, o.batch}, {}}
	s.again = true
}
