//! The vectors of an embedder that is not built in, in int8, and their cosines with a query's vector.
//!
//! The scan is exact and plain Rust that the compiler vectorises. It must never fail on a vector of another length or
//! with a number that is none: such a row is as if it had no vector.

/// Rows of one length, by slot. The length is that of the first vector.
#[derive(Default)]
pub(crate) struct Vectors {
    dims: usize,
    cells: Vec<i8>,
    /// Per row: what its cells times make the unit vector; 0 for a slot without a vector.
    scales: Vec<f32>,
}

impl Vectors {
    /// Adds the next slot, with or without a vector.
    pub(crate) fn push(&mut self, vector: Option<&[f32]>) {
        let vector = vector.filter(|vector| usable(vector) && (self.dims == 0 || self.dims == vector.len()));
        if let Some(vector) = vector.filter(|_| self.dims == 0) {
            self.dims = vector.len();
            self.cells.resize(self.scales.len() * self.dims, 0);
        }
        match vector {
            Some(vector) => {
                let (row, scale) = quantise(vector);
                self.cells.extend(row);
                self.scales.push(scale);
            }
            None => {
                self.cells.extend(std::iter::repeat_n(0, self.dims));
                self.scales.push(0.0);
            }
        }
    }

    /// Gives a slot a vector, or another one. What is no vector of the same length is passed over.
    pub(crate) fn set(&mut self, slot: usize, vector: &[f32]) {
        if !usable(vector) || slot >= self.scales.len() || (self.dims != 0 && self.dims != vector.len()) {
            return;
        }
        if self.dims == 0 {
            self.dims = vector.len();
            self.cells.resize(self.scales.len() * self.dims, 0);
        }
        let (row, scale) = quantise(vector);
        let cells = self.cells.iter_mut().skip(slot * self.dims);
        cells.zip(row).for_each(|(cell, x)| *cell = x);
        self.scales[slot] = scale;
    }

    /// Whether any slot ever had a vector.
    pub(crate) fn is_empty(&self) -> bool {
        self.dims == 0
    }

    /// Forgets the vector of a slot.
    pub(crate) fn clear(&mut self, slot: usize) {
        if let Some(scale) = self.scales.get_mut(slot) {
            *scale = 0.0;
        }
        if let Some(row) = self.cells.get_mut(slot * self.dims..(slot + 1) * self.dims) {
            row.fill(0);
        }
    }

    /// The unit vector of a slot, as far as int8 keeps it.
    pub(crate) fn row(&self, slot: usize) -> Option<Vec<f32>> {
        let scale = self.scales.get(slot).copied().filter(|scale| *scale > 0.0)?;
        let row = self.cells.get(slot * self.dims..(slot + 1) * self.dims)?;
        Some(row.iter().map(|x| f32::from(*x) * scale).collect())
    }

    /// The cosine of each slot with `query`, 0 for a slot without a vector. `None` if the query's vector does not fit
    /// or there are no vectors at all.
    pub(crate) fn cosines(&self, query: &[f32]) -> Option<Vec<f32>> {
        if self.dims == 0 || query.len() != self.dims || !usable(query) {
            return None;
        }
        let (query, scale) = quantise(query);
        let query: Vec<i8> = query.collect();
        let rows = self.cells.chunks_exact(self.dims).zip(&self.scales);
        Some(rows.map(|(row, factor)| dot(row, &query) * factor * scale).collect())
    }

    /// Memory in use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.cells.capacity() + self.scales.capacity() * size_of::<f32>()
    }
}

fn usable(vector: &[f32]) -> bool {
    let length = length(vector);
    length.is_finite() && length > 0.0
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// A vector in int8, and the factor that makes it the unit vector; `None` if it has no direction.
pub(crate) fn quantised(vector: &[f32]) -> Option<(Vec<i8>, f32)> {
    usable(vector).then(|| {
        let (cells, scale) = quantise(vector);
        (cells.collect(), scale)
    })
}

/// Cells of −127 to 127, and the factor that makes them the unit vector.
fn quantise(vector: &[f32]) -> (impl Iterator<Item = i8> + '_, f32) {
    let peak = vector.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    // The cast saturates, and the quotient is at most 127.
    let cells = vector.iter().map(move |x| (x / peak * 127.0).round() as i8);
    (cells, peak / 127.0 / length(vector))
}

fn dot(a: &[i8], b: &[i8]) -> f32 {
    let sum: i32 = a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
    sum as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[Option<&[f32]>]) -> Vectors {
        let mut matrix = Vectors::default();
        rows.iter().for_each(|row| matrix.push(*row));
        matrix
    }

    #[test]
    fn cosines_are_those_of_the_vectors() {
        let matrix = matrix(&[None, Some(&[3.0, 4.0]), Some(&[0.0, -2.0]), None]);
        let cosines = matrix.cosines(&[0.0, 10.0]).unwrap();
        for (found, expected) in cosines.iter().zip([0.0, 0.8, -1.0, 0.0]) {
            assert!((found - expected).abs() < 0.01, "{cosines:?}");
        }
    }

    #[test]
    fn what_is_no_vector_counts_as_none() {
        let matrix = matrix(&[Some(&[1.0, 0.0]), Some(&[1.0]), Some(&[f32::NAN, 1.0]), Some(&[0.0, 0.0])]);
        assert_eq!(matrix.cosines(&[1.0, 0.0]).unwrap()[1..], [0.0, 0.0, 0.0]);
        assert!(matrix.cosines(&[1.0]).is_none());
        assert!(matrix.cosines(&[f32::INFINITY, 0.0]).is_none());
        assert!(Vectors::default().cosines(&[]).is_none());
    }

    #[test]
    fn a_vector_may_come_later_than_its_slot() {
        let mut late = matrix(&[None, None, None]);
        assert!(late.is_empty());
        late.set(1, &[0.0, 2.0]);
        late.set(1, &[3.0, 4.0]);
        late.set(2, &[1.0]);
        late.set(7, &[1.0, 0.0]);
        let (cosines, expected) = (late.cosines(&[0.0, 1.0]).unwrap(), [0.0, 0.8, 0.0]);
        assert!(cosines.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.01), "{cosines:?}");
        assert!(quantised(&[0.0, 0.0]).is_none());
    }

    #[test]
    fn a_cleared_slot_has_no_trace() {
        let mut matrix = matrix(&[Some(&[1.0, 0.5])]);
        matrix.clear(0);
        matrix.clear(7);
        assert!(matrix.cells.iter().all(|x| *x == 0));
        assert!(matrix.row(0).is_none());
    }
}
