-- what is asked anew and may have left before counts into every total; there is hardly ever such a row
CREATE INDEX action_doubtful ON action (jst_day)
WHERE kind = 'bill' AND state = 'awaiting_approval' AND may_have_left = 1;
