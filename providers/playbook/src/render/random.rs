//! Python's random numbers, so that a seed gives here what it gives there. Source: Matsumoto and Nishimura, "Mersenne
//! Twister", and Python's documentation of `random`.

use sha2::{Digest as _, Sha512};

const N: usize = 624;

pub(crate) struct Random {
    state: Vec<u32>,
    at: usize,
}

impl Random {
    /// Seeded by a text.
    pub(crate) fn from_text(seed: &str) -> Self {
        let mut bytes = seed.as_bytes().to_vec();
        bytes.extend(Sha512::digest(seed.as_bytes()));
        Self::from_bytes(&bytes)
    }

    /// Seeded by a number.
    pub(crate) fn from_number(seed: i128) -> Self {
        Self::from_bytes(&seed.unsigned_abs().to_be_bytes())
    }

    /// Seeded by the system.
    pub(crate) fn from_system() -> Self {
        use rand::RngCore as _;
        let mut bytes = [0; 64];
        rand::rng().fill_bytes(&mut bytes);
        Self::from_bytes(&bytes)
    }

    fn from_bytes(big_endian: &[u8]) -> Self {
        let mut key: Vec<u32> =
            big_endian.rchunks(4).map(|c| c.iter().fold(0u32, |n, b| n << 8 | u32::from(*b))).collect();
        while key.len() > 1 && key.last() == Some(&0) {
            key.pop();
        }
        let mut s: Vec<u32> = Vec::with_capacity(N);
        let mut last = 19_650_218u32;
        s.push(last);
        for i in 1..N as u32 {
            last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i);
            s.push(last);
        }
        let get = |s: &[u32], i: usize| s.get(i).copied().unwrap_or(0);
        let set = |s: &mut Vec<u32>, i: usize, v: u32| {
            if let Some(slot) = s.get_mut(i) {
                *slot = v;
            }
        };
        let (mut i, mut j) = (1, 0);
        for _ in 0..N.max(key.len()) {
            let before = get(&s, i - 1);
            let v = (get(&s, i) ^ (before ^ (before >> 30)).wrapping_mul(1_664_525))
                .wrapping_add(get(&key, j))
                .wrapping_add(j as u32);
            set(&mut s, i, v);
            i += 1;
            j += 1;
            if i >= N {
                let v = get(&s, N - 1);
                set(&mut s, 0, v);
                i = 1;
            }
            if j >= key.len() {
                j = 0;
            }
        }
        for _ in 0..N - 1 {
            let before = get(&s, i - 1);
            let v = (get(&s, i) ^ (before ^ (before >> 30)).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            set(&mut s, i, v);
            i += 1;
            if i >= N {
                let v = get(&s, N - 1);
                set(&mut s, 0, v);
                i = 1;
            }
        }
        set(&mut s, 0, 0x8000_0000);
        Self { state: s, at: N }
    }

    fn next(&mut self) -> u32 {
        let get = |s: &[u32], i: usize| s.get(i % N).copied().unwrap_or(0);
        if self.at >= N {
            for k in 0..N {
                let y = get(&self.state, k) & 0x8000_0000 | get(&self.state, k + 1) & 0x7fff_ffff;
                let v = get(&self.state, k + 397) ^ (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
                if let Some(slot) = self.state.get_mut(k) {
                    *slot = v;
                }
            }
            self.at = 0;
        }
        let mut y = get(&self.state, self.at);
        self.at += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c_5680;
        y ^= y << 15 & 0xefc6_0000;
        y ^ y >> 18
    }

    fn bits(&mut self, mut k: u32) -> u128 {
        let (mut out, mut shift) = (0u128, 0);
        while k > 0 {
            let take = k.min(32);
            out |= u128::from(self.next() >> (32 - take)) << shift;
            shift += take;
            k -= take;
        }
        out
    }

    /// A number below `n`, which must be positive.
    pub(crate) fn below(&mut self, n: u128) -> u128 {
        if n == 0 {
            return 0;
        }
        let k = 128 - n.leading_zeros();
        loop {
            let r = self.bits(k);
            if r < n {
                return r;
            }
        }
    }

    /// One of the elements.
    pub(crate) fn choose<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let at = self.below(all.len() as u128);
        all.get(at as usize)
    }

    /// Puts elements in another order.
    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            let j = self.below(i as u128 + 1) as usize;
            all.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    // Source: `random.Random('web1')` and `random.Random(5)` of Python 3.
    #[test]
    fn seeds_give_what_python_gives() {
        let mut r = Random::from_number(5);
        let five: Vec<u128> = (0..4).map(|_| r.below(100)).collect();
        let mut r = Random::from_text("web1");
        let web: Vec<u128> = (0..4).map(|_| r.below(60)).collect();
        let mut r = Random::from_text("x");
        let mut all = vec![1, 2, 3, 4, 5];
        r.shuffle(&mut all);
        assert_eq!((five, web, all), (vec![79, 32, 94, 45], vec![52, 20, 16, 49], vec![5, 2, 1, 4, 3]));
    }
}
