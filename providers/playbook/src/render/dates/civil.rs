//! Days of the calendar. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

/// A moment without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
    pub(crate) second: u32,
}

impl Civil {
    /// The moment so many seconds after 1970, if its year has at most four digits.
    pub(crate) fn new(seconds: i64) -> Option<Self> {
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        let small = |n: i64| u32::try_from(n).unwrap_or(0);
        (1..=9999).contains(&year).then(|| Self {
            year,
            month: small(month),
            day: small(day),
            hour: small(rest / 3600),
            minute: small(rest / 60 % 60),
            second: small(rest % 60),
        })
    }

    /// Itself, if it is in the calendar.
    pub(crate) fn checked(self) -> Option<Self> {
        let good = (1..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        (good && Self::new(self.seconds()) == Some(self)).then_some(self)
    }

    fn days(self) -> i64 {
        let y = self.year - i64::from(self.month <= 2);
        let era = y.div_euclid(400);
        let yoe = y.rem_euclid(400);
        let m = i64::from(self.month);
        let doy = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + i64::from(self.day) - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        era * 146_097 + doe - 719_468
    }

    /// Seconds after 1970.
    pub(crate) fn seconds(self) -> i64 {
        self.days() * 86_400 + i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second)
    }

    /// Monday is 0.
    pub(crate) fn weekday(self) -> u32 {
        u32::try_from((self.days() + 3).rem_euclid(7)).unwrap_or(0)
    }

    /// The day of the year, from 1.
    pub(crate) fn yearday(self) -> u32 {
        let first = Self { month: 1, day: 1, ..self };
        u32::try_from(self.days() - first.days() + 1).unwrap_or(1)
    }

    /// Year and week by ISO 8601.
    pub(crate) fn iso_week(self) -> (i64, u32) {
        let weekday = i64::from(self.weekday());
        let thursday = (self.days() - weekday + 3) * 86_400;
        match Self::new(thursday) {
            Some(t) => (t.year, (t.yearday() - 1) / 7 + 1),
            None => (self.year, 1),
        }
    }
}
